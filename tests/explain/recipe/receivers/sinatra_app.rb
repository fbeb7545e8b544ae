# A Sinatra application that reads a delivery in a wrong way. The path `/as/KIND` chooses how. Each
# response says what the application has: the headers and the body.

require 'base64'
require 'cgi'
require 'erb'
require 'json'
require 'sinatra/base'
require 'webrick'

class Receiver < Sinatra::Base
  set :environment, :production
  disable :protection

  def raw
    request.body.rewind
    request.body.read.force_encoding('UTF-8')
  end

  def fields
    params.reject { |name, _| name == 'kind' }
  end

  KINDS = {
    'generate' => ->(app) { JSON.generate(JSON.parse(app.raw)) },
    'pretty' => ->(app) { JSON.pretty_generate(JSON.parse(app.raw)) },
    'ascii' => ->(app) { JSON.generate(JSON.parse(app.raw), ascii_only: true) },
    'script-safe' => ->(app) { JSON.generate(JSON.parse(app.raw), script_safe: true) },
    'inspect' => ->(app) { app.raw.inspect },
    'hash' => ->(app) { JSON.parse(app.raw).inspect },
    'part' => ->(app) { JSON.generate(JSON.parse(app.raw)['data']) },
    'read-again' => ->(app) { app.request.body.read; app.request.body.read },
    'build-query' => ->(app) { Rack::Utils.build_query(app.fields) },
    'build-nested' => ->(app) { Rack::Utils.build_nested_query(app.fields) },
    'params-json' => ->(app) { app.fields.to_json },
    'params-sorted' => ->(app) { URI.encode_www_form(app.fields.sort) },
    'cgi-escape' => ->(app) { CGI.escape(app.raw) },
    'erb-h' => ->(app) { ERB::Util.html_escape(app.raw) },
    'latin1' => ->(app) { app.raw.encode('ISO-8859-1', undef: :replace) },
    'windows-1252' => ->(app) { app.raw.encode('Windows-1252', undef: :replace) },
    'scrub' => ->(app) { app.raw.force_encoding('US-ASCII').scrub('?') },
    'encode64' => ->(app) { Base64.encode64(app.raw) },
    'puts' => ->(app) { StringIO.new.tap { |io| io.puts(app.raw) }.string },
    'lines' => ->(app) { app.raw.gsub("\n", "\r\n") },
    'chomp' => ->(app) { app.raw.chomp },
    'raw' => ->(app) { app.raw },
  }.freeze

  post '/as/:kind' do |kind|
    body = KINDS.fetch(kind).call(self)
    # Rack has the fields of the head in the names that CGI uses.
    headers = request.env.select { |name, _| name =~ /^(HTTP_|CONTENT_)/ }
    unless kind == 'raw'
      headers = headers.map { |name, value| [name.sub(/^HTTP_/, '').split('_').map(&:capitalize).join('-'), value] }
    end
    JSON.generate(headers: headers.to_a, body: Base64.strict_encode64(body.b), url: nil, method: 'POST')
  end
end

log = WEBrick::Log.new(File::NULL)
server = WEBrick::HTTPServer.new(BindAddress: '127.0.0.1', Port: 0, Logger: log, AccessLog: [])
server.mount('/', Rack::Handler::WEBrick, Receiver)
puts JSON.generate(sinatra: server.listeners.first.addr[1])
$stdout.flush
Thread.new { $stdin.read; server.shutdown }
server.start
