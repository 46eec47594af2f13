# frozen_string_literal: true

# What Ruby alone makes of arguments: reads {"args": [...]} one a line, prints the texts that its plugins put into their keys.
require 'json'

$stdin.each_line do |line|
  args = JSON.parse(line)['args']
  puts JSON.generate([args.to_s, args.join('-')])
end
