# frozen_string_literal: true

# The real resque and resque-scheduler behind JSON lines, for the interop tests
# (RubyDriver in tests/support/foreign.py). The lines are those of node/driver.js.
#
# The first argument is JSON: {"socket"|"host","port","db","username","password",
# "namespace"}. Workers and schedulers are children of this process, started with a
# second argument, and end when it does.

require 'json'
require 'socket'
require 'rbconfig'
require 'resque'
begin
  require 'resque-scheduler'
  HAS_SCHEDULER = true
rescue LoadError
  HAS_SCHEDULER = false
end

module Interop
  TARGET = JSON.parse(ARGV[0] || '{}').freeze
  START_TIMEOUT = 15 # seconds

  def self.redis_options
    place = TARGET['socket'] ? %w[socket] : %w[host port]
    wanted = TARGET.slice(*place, 'db', 'username', 'password').compact
    wanted['path'] = wanted.delete('socket') if wanted.key?('socket')
    wanted.transform_keys(&:to_sym)
  end

  def self.connect
    namespace = TARGET['namespace'] || 'resque'
    Resque.redis = Redis::Namespace.new(namespace, redis: Redis.new(redis_options))
  end
end

require_relative 'jobs'
require_relative 'roles'
require_relative 'ops'

Interop.connect
case ARGV[1]
when 'work' then Interop::Roles.work(JSON.parse(ARGV[2]))
when 'schedule' then Interop::Roles.schedule(JSON.parse(ARGV[2]))
else Interop::Ops.serve
end
