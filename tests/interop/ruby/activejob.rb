# Rails' ActiveJob with its adapter for Resque, without Rails, Redis and Resque: `send` prints the jobs that the adapter
# hands to Resque, one a line; `run` performs those that it reads, and prints what `perform` was called with.
require "json"

module Resque # what the adapter calls: the payload is Resque's
  def self.enqueue_to(queue, klass, *args) = $sent.call({ class: klass.to_s, args: args }, queue)
  def self.enqueue_at_with_queue(queue, at, klass, *args) = $sent.call({ class: klass.to_s, args: args, queue: queue }, at)
end
$LOADED_FEATURES << "resque.rb" << "resque-scheduler.rb" # so that the adapter finds them

require "logger"
require "active_support"
require "active_support/time"
require "active_support/core_ext/object/json"
require "active_job"
require "global_id"
require "active_job/queue_adapters/resque_adapter"

ActiveJob::Base.queue_adapter = :resque
ActiveJob::Base.logger = Logger.new(IO::NULL)
GlobalID.app = "shop"
Time.zone = "Europe/Berlin"

class User # as a model
  include GlobalID::Identification
  attr_reader :id
  def initialize(id) = @id = id
  def self.find(id) = new(id)
end

class ReportJob < ActiveJob::Base
  queue_as :reports
  def perform(*args, **keywords) = $performed = [args, keywords]
end

class FlakyJob < ActiveJob::Base
  queue_as :reports
  retry_on ArgumentError, wait: 60, attempts: 5
  def perform(*) = raise(ArgumentError, "no")
end

def shown(value)
  case value
  when Array then value.map { |each| shown(each) }
  when Hash then value.map { |k, v| [k.inspect, shown(v)] }.to_h
  when ActiveSupport::Duration then "Duration #{value.to_i}"
  when BigDecimal then "BigDecimal #{value.to_s('F')}"
  when Time, DateTime then "#{value.class} #{value.utc.iso8601(6)}"
  when Date then "Date #{value.iso8601}"
  when User then "User #{value.id}"
  when Symbol then value.inspect
  else value
  end
end

SENT = [
  -> { ReportJob.perform_later(1, 2.5, 2**60, nil, true, "text", :sym) },
  -> { ReportJob.perform_later({ a: 1 }, { "b" => { c: :d } }, [1, [:e]]) },
  -> { ReportJob.perform_later(Time.utc(2026, 1, 2, 3, 4, 5.678901r), Date.new(2026, 1, 2), 90.minutes, Time.zone.local(2026, 7, 1, 12)) },
  -> { ReportJob.perform_later(DateTime.new(2026, 1, 2, 3, 4, 5), ReportJob, User.new(17), { x: 1 }.with_indifferent_access) },
  -> { ReportJob.perform_later(1, note: "hi", kinds: [:a]) },
  -> { ReportJob.perform_later(note: "only") },
  -> { ReportJob.perform_later },
  -> { ReportJob.set(queue: "later", wait_until: Time.at(1_800_000_000)).perform_later(5) },
]

case ARGV[0]
when "version"
  puts ActiveJob.version
when "send"
  $sent = ->(job, extra) { puts JSON.generate({ job: job.to_json, extra: extra }) }
  SENT.each(&:call)
when "run"
  $sent = ->(job, extra) { puts JSON.generate({ job: job.to_json, extra: extra }) }
  $stdin.each_line do |line|
    $performed = nil
    job = JSON.parse(line)
    wrapper = Object.const_get(job["class"])
    begin
      wrapper.perform(*job["args"])
      puts JSON.generate({ performed: shown($performed) }) if $performed
    rescue StandardError => e
      puts JSON.generate({ error: e.class.name, message: e.message })
    end
  end
end
