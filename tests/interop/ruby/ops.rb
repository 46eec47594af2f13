# frozen_string_literal: true

module Interop
  # What a test may ask, by name. Class names that Ruby does not know are passed on
  # as text, as a program does that only enqueues.
  module Ops
    TABLE = {}
    CHILDREN = {} # pid -> Child, while a test may still stop it
    STARTED = []
    SPEAK = Mutex.new

    def self.op(name, &block)
      TABLE[name] = block
    end

    # ---- the wire to the test ----

    def self.serve
      event('ready', pid: Process.pid, resque: Resque::VERSION, scheduler: scheduler_version,
                     redis: Redis::VERSION, ruby: RUBY_VERSION, host: Socket.gethostname)
      $stdin.each_line { |line| answer(JSON.parse(line)) }
    ensure
      STARTED.each(&:clear)
    end

    def self.answer(request)
      block = TABLE.fetch(request['op']) { raise ArgumentError, "unknown op: #{request['op']}" }
      result = block.call(*request.fetch('args', []))
      say(id: request['id'], ok: true, result: result)
    rescue StandardError => e
      say(id: request['id'], ok: false, error: e.message, name: e.class.name)
    end

    def self.event(name, **args)
      say(event: name, role: 'driver', handle: nil, args: [args])
    end

    def self.say(message)
      SPEAK.synchronize do
        $stdout.write("#{JSON.generate(message)}\n")
        $stdout.flush
      end
    end

    # ---- helpers ----

    def self.scheduler_version
      HAS_SCHEDULER ? Resque::Scheduler::VERSION : nil
    end

    def self.constant(name)
      Object.const_defined?(name) ? Object.const_get(name) : name
    rescue NameError
      name
    end

    def self.list(found)
      found.is_a?(Array) ? found : [found].compact
    end

    def self.describe(worker)
      { 'id' => worker.to_s, 'host' => worker.hostname, 'pid' => worker.pid,
        'queues' => worker.queues, 'state' => worker.state, 'started' => worker.started,
        'heartbeat' => worker.heartbeat, 'processed' => worker.processed,
        'failed' => worker.failed, 'job' => worker.job }
    end

    def self.start(role, options)
      child = Child.new(role, options) { |pid, line| event('child', pid: pid, line: line) }
      STARTED << child
      CHILDREN[child.pid] = child
    end

    def self.stop(pid, signal)
      child = CHILDREN.delete(pid) || raise(ArgumentError, "no child with pid #{pid}")
      child.signal(signal)
      child.wait
    end

    op('ping') { 'pong' }
    op('shutdown') { CHILDREN.keys.to_h { |pid| [pid, stop(pid, 'QUIT')] } }

    # ---- queues ----

    op('enqueue') { |name, args = []| Resque.enqueue(constant(name), *args) }
    op('enqueue_to') { |queue, name, args = []| Resque.enqueue_to(queue, constant(name), *args) }
    op('enqueue_all') do |queue, name, list|
      list.count { |args| Resque.enqueue_to(queue, constant(name), *args) }
    end
    op('dequeue') { |queue, name, args = []| Resque::Job.destroy(queue, name, *args) }
    op('peek') { |queue, start = 0, count = 1| list(Resque.peek(queue, start, count)) }
    op('size') { |queue| Resque.size(queue) }
    op('queues') { Resque.queues }
    op('queue_sizes') { Resque.queue_sizes }
    op('remove_queue') { |queue| Resque.remove_queue(queue) }
    op('info') { Resque.info.transform_values { |value| value.is_a?(Symbol) ? value.to_s : value } }

    # ---- workers ----

    op('workers') { Resque::Worker.all.map { |worker| describe(worker) } }
    op('working') { Resque::Worker.working.map { |worker| describe(worker) } }
    op('find_worker') { |id| (found = Resque::Worker.find(id)) && describe(found) }

    op('worker.start') do |options = {}|
      options = { 'queues' => %w[interop] }.merge(options)
      child = start('work', options)
      id = "#{Socket.gethostname}:#{child.pid}:#{options['queues'].join(',')}"
      child.wait_until("worker #{id}") { Resque.data_store.worker_exists?(id) }
      { 'pid' => child.pid, 'id' => id }
    end
    # Works until the queues are empty; the exit status is the answer.
    op('worker.drain') do |options = {}|
      options = { 'queues' => %w[interop], 'interval' => 0 }.merge(options)
      CHILDREN.delete(start('work', options).pid).wait
    end
    op('worker.stop') { |pid| stop(pid, 'QUIT') }
    op('worker.kill') { |pid| stop(pid, 'KILL') }
    op('worker.signal') { |pid, signal| CHILDREN.fetch(pid).signal(signal) }

    # As a worker on these queues does when it starts on this host.
    op('prune_dead_workers') do |queues = ['*']|
      before = Resque.data_store.worker_ids
      Resque.redis.del('pruning_dead_workers_in_progress')
      Resque::Worker.new(*queues).prune_dead_workers
      (before - Resque.data_store.worker_ids).sort
    end

    # ---- Rails' ActiveJob ----

    op('rails.enqueue') { |*args| RailsEcho.perform_later(*args).job_id }
    op('rails.enqueue_keywords') { |word| RailsEcho.perform_later(word.to_sym, note: word).job_id }
    op('rails.enqueue_at') { |at, *args| RailsEcho.set(wait_until: Time.at(at)).perform_later(*args).job_id }
    op('rails.remove_delayed') do |*args|
      wrapper = ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper
      Resque.remove_delayed_selection(wrapper) { |given| given[0]['arguments'] == args }
    end
    op('rails.dequeue_class') do |queue|
      Resque::Job.destroy(queue, ActiveJob::QueueAdapters::ResqueAdapter::JobWrapper)
    end

    # ---- gems of locks and retries ----

    op('plugins?') { Interop::PLUGINS }
    op('plugin_keys') do |args|
      [Locked.lock(*args), Loner.redis_lock_key(*args), Loner.redis_loner_lock_key(*args),
       Retried.redis_retry_key(*args)]
    end

    # ---- failures ----

    op('failure.multi_queue') { require 'resque/failure/redis_multi_queue'; Resque::Failure.backend = Resque::Failure::RedisMultiQueue; true }
    op('failure.queues') { Resque::Failure.queues }
    op('failure.all_of') { |name| list(Resque::Failure.all(0, 1000, name)) }
    op('failure.requeue_all_of') { |name| Resque::Failure.requeue_queue(name) && nil }
    op('failure.all') { |start = 0, count = 1000| list(Resque::Failure.all(start, count)) }
    op('failure.count') { |*args| Resque::Failure.count(*args) }
    op('failure.requeue') { |index| Resque::Failure.requeue(index) }
    op('failure.requeue_all') { Resque::Failure.requeue_all }
    op('failure.requeue_queue') { |queue| Resque::Failure.requeue_queue(queue) && nil }
    op('failure.remove') { |index| Resque::Failure.remove(index) }
    op('failure.remove_queue') { |queue| Resque::Failure.remove_queue(queue) && nil }
    op('failure.clear') { Resque::Failure.clear }

    # ---- delayed jobs and schedules (resque-scheduler) ----

    op('enqueue_at') { |at, name, args = []| Resque.enqueue_at(at, constant(name), *args) }
    op('enqueue_at_with_queue') do |queue, at, name, args = []|
      Resque.enqueue_at_with_queue(queue, at, constant(name), *args)
    end
    op('enqueue_in') { |seconds, name, args = []| Resque.enqueue_in(seconds, constant(name), *args) }
    op('delayed.timestamps') { |start = 0, count = 1000| Resque.delayed_queue_peek(start, count) }
    op('delayed.at') { |at, start = 0, count = 1000| list(Resque.delayed_timestamp_peek(at, start, count)) }
    op('delayed.all') do
      Resque.delayed_queue_peek(0, 1000).to_h do |at|
        [at, list(Resque.delayed_timestamp_peek(at, 0, 1000))]
      end
    end
    op('delayed.count') { Resque.count_all_scheduled_jobs }
    op('scheduled_at') { |name, args = []| Resque.scheduled_at(constant(name), *args) }
    op('delayed?') { |name, args = []| Resque.delayed?(constant(name), *args) }
    op('remove_delayed') { |name, args = []| Resque.remove_delayed(constant(name), *args) }
    op('remove_delayed_in_queue') do |name, queue, args = []|
      Resque.remove_delayed_in_queue(constant(name), queue, *args)
    end
    op('remove_delayed_class') { |name| Resque.remove_delayed_selection(name) { true } }
    op('remove_delayed_job_from_timestamp') do |at, name, args = []|
      Resque.remove_delayed_job_from_timestamp(at, constant(name), *args)
    end
    op('delay_or_enqueue_at') do |at, name, args = []|
      Resque.delay_or_enqueue_at(at, constant(name), *args)
    end
    op('enqueue_delayed') { |name, args = []| Resque.enqueue_delayed(constant(name), *args) }
    op('enqueue_delayed_class') { |name| Resque.enqueue_delayed_selection(name) { true } }

    op('schedule.set') { |name, config| Resque.set_schedule(name, config.merge(persist: true)) && true }
    op('schedule.remove') { |name| Resque.remove_schedule(name) && true }
    op('schedule.all') { Resque.reload_schedule! }
    op('schedule.last_enqueued_at') { |name| Resque.get_last_enqueued_at(name) }

    # Answers when the process has loaded its schedule, leader or not.
    op('scheduler.start') do |options = {}|
      child = start('schedule', options)
      child.wait_until('a scheduler') { child.said?('Schedules Loaded') }
      { 'pid' => child.pid }
    end
    op('scheduler.stop') { |pid| stop(pid, 'TERM') }
    op('scheduler.kill') { |pid| stop(pid, 'KILL') }
  end
end
