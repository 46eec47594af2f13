# frozen_string_literal: true

module Interop
  # The two long-running roles, each in a process of its own.
  module Roles
    module_function

    def work(options)
      die_with_parent
      worker = Resque::Worker.new(*options.fetch('queues'))
      worker.fork_per_job = options.fetch('fork', true)
      worker.work(options.fetch('interval', 0.1))
    end

    def schedule(options)
      die_with_parent
      Resque::Scheduler.configure do |config|
        config.poll_sleep_amount = options.fetch('interval', 0.1)
        config.dynamic = options.fetch('dynamic', false)
        config.verbose = true
        config.lock_timeout = options['lock_timeout'] if options['lock_timeout']
      end
      Resque::Scheduler.run
    end

    # Stdin is a pipe that only the driver holds open. A forked job dies as well.
    def die_with_parent
      $stdout.sync = true
      Thread.new do
        $stdin.read
        Process.kill('KILL', 0)
      end
    end
  end

  # One child process as the driver sees it.
  class Child
    attr_reader :pid

    def initialize(role, options, &on_line)
      read, @hold = IO.pipe
      output, child_output = IO.pipe
      @pid = Process.spawn(options.fetch('env', {}), *command(role, options),
                           in: read, out: child_output, err: child_output, pgroup: true)
      [read, child_output].each(&:close)
      @lines = []
      @reader = Thread.new { output.each_line { |line| take(line.chomp, on_line) } }
    end

    def wait_until(what)
      deadline = now + START_TIMEOUT
      until yield
        raise "#{what} did not come; it said:\n#{said}" if now > deadline || ended?
        sleep 0.02
      end
    end

    def said?(text)
      @lines.any? { |line| line.include?(text) }
    end

    def signal(name)
      Process.kill(name, pid) unless ended?
    end

    def wait
      @ended ||= Process.wait2(pid).last
      @reader.join(0.1) # a forked job that outlives its worker holds the pipe
      @ended.exitstatus || -@ended.termsig
    end

    # Kill what is left of it, forked jobs included.
    def clear
      Process.kill('KILL', -pid)
    rescue Errno::ESRCH
      nil
    else
      wait
    end

    def ended?
      @ended ||= Process.wait2(pid, Process::WNOHANG)&.last
      !@ended.nil?
    end

    private

    def command(role, options)
      [RbConfig.ruby, File.join(__dir__, 'driver.rb'), JSON.generate(TARGET), role,
       JSON.generate(options)]
    end

    def take(line, on_line)
      @lines << line
      on_line.call(pid, line)
    end

    def said
      @lines.last(20).join("\n")
    end

    def now
      Process.clock_gettime(Process::CLOCK_MONOTONIC)
    end
  end
end
