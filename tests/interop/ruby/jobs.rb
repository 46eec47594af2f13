# frozen_string_literal: true

# The job classes that the Ruby side knows; Node and Python define the same names.

module Interop
  RAN = 'interop:ran'     # every run that ended well, in the order they ended
  BEGAN = 'interop:began' # slow jobs, when they begin

  # A connection of one's own in each process: forked children must not share it.
  def self.redis
    @redis ||= {}
    @redis[Process.pid] ||= Redis.new(Interop.redis_options)
  end

  def self.note(key, name, args)
    redis.rpush(key, JSON.generate('by' => 'ruby', 'class' => name, 'args' => args))
  end
end

class Echo
  @queue = 'interop'
  def self.perform(*args)
    Interop.note(Interop::RAN, name, args)
  end
end

class Noop
  @queue = 'interop'
  def self.perform(*); end
end

class Fail
  @queue = 'interop'
  def self.perform(message = nil, *)
    raise message.to_s
  end
end

# Milliseconds, as on the Node side.
class Sleep
  @queue = 'interop'
  def self.perform(milliseconds, *rest)
    args = [milliseconds, *rest]
    Interop.note(Interop::BEGAN, name, args)
    sleep(milliseconds / 1000.0)
    Interop.note(Interop::RAN, name, args)
  end
end

# The gems of locks and retries, where they can be loaded (RUBYLIB): see `Ops` for whether they are.
module Interop
  PLUGINS = %w[lock lock_timeout retry].all? do |name|
    require "resque/plugins/#{name}"
  rescue LoadError
    false
  end
end

if Interop::PLUGINS
  class Locked < Echo
    extend Resque::Plugins::Lock
    @queue = 'interop'
  end

  class Loner < Echo
    extend Resque::Plugins::LockTimeout
    @queue = 'interop'
    @loner = true
    @lock_timeout = 60
  end

  class Retried < Fail
    extend Resque::Plugins::Retry
    @queue = 'interop'
    @retry_limit = 2
    @retry_delay = 60
  end
end

# Rails' ActiveJob on Resque, where a test asks for it. Its own adapter, and not that of resque 3, which is for newer ones.
if ENV['INTEROP_RAILS']
  require 'logger'
  require 'active_job'
  home = File.dirname($LOADED_FEATURES.find { |path| path.end_with?('/active_job.rb') })
  adapter = File.join(home, 'active_job', 'queue_adapters', 'resque_adapter.rb')
  require(File.exist?(adapter) ? adapter : 'active_job/queue_adapters/resque_adapter')
  ActiveJob::Base.queue_adapter = ActiveJob::QueueAdapters::ResqueAdapter.new
  ActiveJob::Base.logger = Logger.new(IO::NULL)

  class RailsEcho < ActiveJob::Base
    queue_as :interop

    def perform(*args, **keywords)
      raise ArgumentError, 'no' if args == ['fail']
      return Sleep.perform(*args) if args[0].is_a?(Integer)

      Interop.note(Interop::RAN, self.class.name, [*args.map(&:to_s), keywords])
    end
  end
end

# Dies by signal 9: a DirtyExit where the worker forks, a dead worker where it does not.
class Die
  @queue = 'interop'
  def self.perform(*)
    Process.kill('KILL', Process.pid)
  end
end
