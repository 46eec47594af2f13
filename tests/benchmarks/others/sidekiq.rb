# Sidekiq, measured as program.py measures the libraries of Python.
require "json"
require "logger"
require "sidekiq"
require "sidekiq/launcher"

Redis.silence_deprecations = true
Redis.sadd_returns_boolean = false

SAID = JSON.parse(ARGV[0])
SLOTS = 50
$stdout.sync = true
Sidekiq.logger = Logger.new($stderr, level: Logger::FATAL)
redis = { url: SAID["url"], size: SLOTS + 5 }
Sidekiq.configure_server { |config| config.redis = redis }
Sidekiq.configure_client { |config| config.redis = redis }

def say(message) = puts(JSON.generate(message))
def now = Process.clock_gettime(Process::CLOCK_MONOTONIC, :nanosecond)
LEFT = { left: SAID["jobs"], start: 0 }
LOCK = Mutex.new

class Job
  include Sidekiq::Worker
  sidekiq_options queue: "default", retry: false

  def perform(argument)
    return say({ ran: (now - argument.to_i) / 1e6 }) if SAID["what"] == "idle"
    LOCK.synchronize do
      LEFT[:left] -= 1
      LEFT[:start] = now if LEFT[:left] == SAID["jobs"] - SLOTS
      say({ result: (SAID["jobs"] - SLOTS) / ((now - LEFT[:start]) / 1e9) }) if LEFT[:left].zero?
    end
  end
end

def work
  options = Sidekiq.options.merge(queues: ["default"], concurrency: SLOTS, tag: "bench")
  Sidekiq::Launcher.new(options).run
end

case SAID["what"]
when "enqueue"
  200.times { |n| Job.perform_async(n.to_s) }
  start = now
  SAID["jobs"].times { |n| Job.perform_async(n.to_s) }
  say({ result: SAID["jobs"] / ((now - start) / 1e9) })
when "drain"
  (0...SAID["jobs"]).each_slice(500) { |some| Sidekiq::Client.push_bulk("class" => Job, "args" => some.map { |n| [n.to_s] }) }
  work
  $stdin.read
when "idle"
  work
  sleep 1
  say({ ready: true })
  $stdin.read
else
  Sidekiq.redis { |connection| connection.ping }
  say({ ready: true })
  $stdin.each_line { Job.perform_async(now.to_s) }
end
exit!(0)
