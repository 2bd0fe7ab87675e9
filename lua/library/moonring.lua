---@meta moonring

-- What filters can use, for editors that know the annotations of the Lua language server. Nothing here runs: the program
-- has all of it built in. Times are in seconds, sizes in bytes, positions count from 1 and negative ones from the end.
-- A function marked as async waits: only its own direction of its own session stands still meanwhile. Wrong arguments
-- raise an error; what can fail at run time returns nil and a word that says why.

-- ---- a filter -----------------------------------------------------------------------------------------------------------

---@alias moonring.Bytes string | moonring.View what can be put and written
---@alias moonring.Where string the name of an upstream, "IP:PORT", "[IPv6]:PORT" or "unix:PATH"
---@alias moonring.Why "eof" | "timeout" | "limit" the end came before; the time is over; it is more than hold_max

--- What a filter's file returns: at least one of these. (A file may return a function instead: its `route`.)
---@class moonring.Filter
---@field route? fun(conn: moonring.Conn): moonring.Where?, { key: string }? no server is chosen yet; nil: the next filter, at last the listener's upstream; with a key, the same key gets the same server
---@field connect_failed? fun(conn: moonring.Conn, error: string, tries: integer): moonring.Where?, { key: string }? no server was reached; nil: the session ends
---@field connected? fun(conn: moonring.Conn) the server is there, and no byte has flowed
---@field from_client? fun(conn: moonring.Conn, buf: moonring.Buf) bytes from the client
---@field from_server? fun(conn: moonring.Conn, buf: moonring.Buf) bytes from the server
---@field client_eof? fun(conn: moonring.Conn): boolean? the client has ended; false: the end is not passed on
---@field server_eof? fun(conn: moonring.Conn): boolean? the server has ended; false: the end is not passed on
---@field serve? fun(conn: moonring.Conn) instead of a server; the session ends when it returns
---@field closed? fun(conn: moonring.Conn, info: moonring.Closed) last of all; all of them may wait for 5 seconds at most

---@class moonring.Closed
---@field reason string why the session ended, one word
---@field error string? what broke it
---@field seconds number how long it lasted
---@field from_client integer bytes received from the client
---@field from_server integer bytes received from the server

-- ---- conn ---------------------------------------------------------------------------------------------------------------

--- One session, as one filter sees it. Your own fields go right on it; assigning to a name below raises an error.
---@class moonring.Conn
---@field id integer the session's number, as in the logs
---@field listener string the listener's name
---@field started number when it was accepted, on the clock of mr.now
---@field client moonring.Endpoint the side that connected
---@field server moonring.Endpoint? the side that was connected to; nil before there is one
---@field proxy moonring.Proxy? who speaks for the client, where the listener has `proxy_protocol`; a copy, made each time
---@field shared table one for all filters of the session that live in one VM
---@field from_client_bytes integer received from the client so far
---@field from_server_bytes integer received from the server so far
---@field [string] any
local Conn = {}

--- Ends the session: what was passed or written goes out, then FIN to both sides. Nothing after the call runs.
---@async
function Conn:close() end

--- Says last words to the client, and ends the session as close does.
---@async
---@param last_words? moonring.Bytes
function Conn:reject(last_words) end

--- Ends the session by resetting both sides. Nothing after the call runs.
---@async
function Conn:reset() end

--- No more hooks of this filter for the bytes and the end of one direction, or of both.
---@param direction? "from_client" | "from_server"
function Conn:detach(direction) end

--- Bounds how fast bytes are received.
---@param bytes_per_second { from_client?: number | false, from_server?: number | false } 0 or false: no limit
function Conn:limit(bytes_per_second) end

--- Replaces timeouts of the listener for this session.
---@param seconds { connect?: number | false, idle?: number | false, half_close?: number | false, send_stall?: number | false, max_lifetime?: number | false } 0 or false: off
function Conn:timeout(seconds) end

--- Calls a function once when both directions together have received so many bytes. A later call replaces it.
---@param bytes integer
---@param passed async fun()
function Conn:quota(bytes, passed) end

--- Runs a function beside the hooks; it ends with the session.
---@param run async fun(...)
---@param ... any its arguments
---@return moonring.Task
function Conn:spawn(run, ...) end

--- Writes a line to the error log, with the session's number and client.
---@param level "error" | "warn" | "info" | "debug"
---@param ... any
function Conn:log(level, ...) end

--- What a PROXY header said. The client's own address is that of conn.client.
---@class moonring.Proxy
---@field ip string? the proxy's own address, without brackets; nil: it is a unix socket
---@field port integer? nil: it is a unix socket
---@field name string? both together
---@field destination string? where the client had connected to
---@field version 1 | 2
---@field is_local boolean the proxy speaks for itself, as in a health check: conn.client is the proxy
---@field alpn string? the protocol that the client and the proxy agreed on
---@field authority string? the name that the client asked for
---@field unique_id string?
---@field tlvs table<integer, string> everything else that a header of version 2 says, by type

--- One side of a session. What reads is possible in route, connected and serve of its own session.
---@class moonring.Endpoint
---@field ip string? without brackets; nil: it is a unix socket
---@field port integer? nil: it is a unix socket
---@field name string the client's address; the server's name in its upstream
---@field tls nil nothing yet
---@field eof boolean it has ended its direction
local Endpoint = {}

--- Waits until so many bytes are there and shows them, without taking them out; also in connect_failed. 0: what is there.
---@async
---@param count integer at most hold_max
---@param seconds? number
---@return moonring.View? view valid until the next call on the endpoint
---@return moonring.Why? why
function Endpoint:peek(count, seconds) end

--- Takes so many bytes out of the stream.
---@async
---@param count integer at most hold_max
---@param seconds? number
---@return string? bytes
---@return moonring.Why? why nothing was taken out
function Endpoint:read(count, seconds) end

--- Takes a line out of the stream; its end, "\n" or "\r\n", is not part of what is returned.
---@async
---@param seconds? number
---@return string? line
---@return moonring.Why? why nothing was taken out
function Endpoint:read_line(seconds) end

--- Takes so many bytes out of the stream, for nobody.
---@async
---@param count integer at most hold_max
---@param seconds? number
---@return true? done
---@return moonring.Why? why nothing was taken out
function Endpoint:consume(count, seconds) end

--- Writes into the stream toward this side, behind what this filter has passed there. Waits while that side is slow.
---@async
---@param bytes moonring.Bytes
---@return true? done
---@return "closed"? why that stream has ended
function Endpoint:write(bytes) end

--- Ends the stream toward this side, after all that was written.
function Endpoint:close_write() end

-- ---- bytes --------------------------------------------------------------------------------------------------------------

--- Bytes where they lie, without a copy. `#view` is how many, `tostring(view)` a string of them. A position that is not
--- there gives nil. Reading it after it has become invalid raises an error.
---@class moonring.View
local View = {}

--- The number of a byte.
---@param i? integer 1 when left out, as below
---@return integer?
function View:byte(i) end

--- The same as byte.
---@param i? integer
---@return integer?
function View:u8(i) end

--- A byte with a sign.
---@param i? integer
---@return integer?
function View:i8(i) end

--- Two bytes, the high one first.
---@param i? integer
---@return integer?
function View:u16be(i) end

--- Two bytes, the low one first.
---@param i? integer
---@return integer?
function View:u16le(i) end

--- Two bytes with a sign, the high one first.
---@param i? integer
---@return integer?
function View:i16be(i) end

--- Two bytes with a sign, the low one first.
---@param i? integer
---@return integer?
function View:i16le(i) end

--- Three bytes, the high one first.
---@param i? integer
---@return integer?
function View:u24be(i) end

--- Three bytes, the low one first.
---@param i? integer
---@return integer?
function View:u24le(i) end

--- Four bytes, the high one first.
---@param i? integer
---@return integer?
function View:u32be(i) end

--- Four bytes, the low one first.
---@param i? integer
---@return integer?
function View:u32le(i) end

--- Four bytes with a sign, the high one first.
---@param i? integer
---@return integer?
function View:i32be(i) end

--- Four bytes with a sign, the low one first.
---@param i? integer
---@return integer?
function View:i32le(i) end

--- Eight bytes, the high one first; exact up to 2^53.
---@param i? integer
---@return number?
function View:u64be(i) end

--- Eight bytes, the low one first; exact up to 2^53.
---@param i? integer
---@return number?
function View:u64le(i) end

--- Eight bytes with a sign, the high one first; exact from -2^53 to 2^53.
---@param i? integer
---@return number?
function View:i64be(i) end

--- Eight bytes with a sign, the low one first; exact from -2^53 to 2^53.
---@param i? integer
---@return number?
function View:i64le(i) end

--- A number of seven bits a byte, the lowest first, 0x80 where another byte follows (MQTT, Protocol Buffers).
---@param i? integer
---@return number? value
---@return integer | "more" | "no" next the position behind it; its end is not there; it has more than ten bytes
function View:varint(i) end

--- Bytes i to j as a string, as string.sub has it.
---@param i? integer
---@param j? integer
---@return string
function View:sub(i, j) end

--- Bytes i to j, without a copy.
---@param i? integer
---@param j? integer
---@return moonring.View
function View:view(i, j) end

--- Where a text begins and ends, from init on. No patterns.
---@param text string
---@param init? integer
---@return integer? first
---@return integer? last
function View:find(text, init) end

--- Where the first byte is that is one of the set's, from init on.
---@param set string
---@param init? integer
---@return integer?
function View:find_any(set, init) end

--- Whether these bytes stand at i.
---@param i integer
---@param text moonring.Bytes
---@return boolean
function View:equal(i, text) end

--- Whether it begins with these bytes.
---@param text moonring.Bytes
---@return boolean
function View:starts(text) end

--- The line that begins at i, without its end, "\n" or "\r\n".
---@param i? integer
---@return string? line nil: its end is not there
---@return integer? next where the next line begins
function View:line(i) end

--- As text, two digits a byte.
---@return string
function View:hex() end

--- All bytes of one direction that have come and are not decided. What a hook leaves alone is passed on when it returns.
--- The verbs move its beginning: positions count from the new one. Valid until the hook returns.
---@class moonring.Buf: moonring.View
---@field eof boolean nothing comes behind these bytes
---@field age number seconds since its first byte came; bytes that need and wait waited for count with those before
local Buf = {}

--- Passes the next bytes on.
---@param count? integer may be more than have come; all that are there when left out
function Buf:pass(count) end

--- Throws the next bytes away.
---@param count? integer may be more than have come; all that are there when left out
function Buf:drop(count) end

--- Adds bytes to the stream, in front of what follows. At most 16 MiB without a wait.
---@param bytes moonring.Bytes
function Buf:put(bytes) end

--- Passes what stands before i, and puts bytes in the place of i to j.
---@param i integer
---@param j integer i - 1 to replace none; may lie beyond what has come
---@param bytes moonring.Bytes
function Buf:replace(i, j, bytes) end

--- `return buf:need(n)`: the hook is called again when so many bytes are there. Raises when they are, or n is above hold_max.
---@param count? integer #buf + 1 when left out
function Buf:need(count) end

--- Stays in the hook until so many bytes are there. Raises when n is above hold_max.
---@async
---@param count? integer #buf + 1 when left out
---@return boolean there false: the end came before
function Buf:wait(count) end

--- A loop over frames whose lengths a function tells: `for frame in buf:frames(2, length) do`.
---@param header integer how many bytes it takes to know a length
---@param length fun(b: moonring.Buf): integer | false | nil, integer | string | nil the frame's length from its first byte; nil [, n]: when (n) more bytes are there; false, why: not this protocol
---@param see? integer no more of a frame is shown (and waited for); hold_max when left out
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function Buf:frames(header, length, see) end

--- A loop over lines. A line has its end, but for the last one of a stream.
---@param max? integer longer ones are an error; hold_max when left out
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function Buf:lines(max) end

--- What a loop shows of a frame. It is decided as a whole, also where its end has not come; undecided, it is passed.
--- Valid until the loop's next step.
---@class moonring.Frame: moonring.View
---@field size number? of the whole frame; nil as long as that is not known
local Frame = {}

--- Passes the whole frame on.
function Frame:pass() end

--- Throws the whole frame away.
function Frame:drop() end

--- Puts bytes in the place of the frame; or, with positions, in the place of a part of what is shown.
---@param bytes moonring.Bytes
---@overload fun(self: moonring.Frame, i: integer, j: integer, bytes: moonring.Bytes)
function Frame:replace(bytes) end

-- ---- the library --------------------------------------------------------------------------------------------------------

local mr = {}

--- The parameters of this use of the filter, from the YAML: a default for each, or one of the types below. Unknown and
--- mistyped ones are errors that name the line of the YAML. Once, and only at the top level.
---@generic T: table
---@param declared T
---@return T
function mr.params(declared) end

--- A parameter that is a duration, like "200ms": seconds.
---@param default string
---@return number
function mr.duration(default) end

--- A parameter that is a size, like "64KiB": bytes.
---@param default string
---@return number
function mr.size(default) end

--- A parameter that is a list; empty when it is not there.
---@param kind "string" | "number" | "boolean" | "duration" | "size"
---@return any[]
function mr.list(kind) end

--- A parameter that is a map; empty when it is not there.
---@param kind "string" | "number" | "boolean" | "duration" | "size"
---@return table<string, any>
function mr.map(kind) end

--- A parameter that must be there.
---@param kind "string" | "number" | "boolean" | "duration" | "size" | any or what mr.list, mr.map and the others return
---@return any
function mr.required(kind) end

--- A parameter that is one of these words; the first is the default.
---@param words string[]
---@return string
function mr.one_of(words) end

--- The whole of a file, relative to the configuration's folder. Only at the top level; raises when it cannot be read.
---@param path string
---@return string
function mr.read_file(path) end

--- The lines of a file, without their ends. Only at the top level; raises when it cannot be read.
---@param path string
---@return string[]
function mr.lines(path) end

--- A set of networks and addresses. `#` begins a comment; empty items are left out. Only at the top level.
---@param list string[] like "10.0.0.0/8" and "2001:db8::1"
---@return moonring.CidrSet
function mr.cidr_set(list) end

---@class moonring.CidrSet
local CidrSet = {}

--- Whether an address is in it. Raises when it is no IP address.
---@param ip string
---@return boolean
function CidrSet:contains(ip) end

--- Seconds on a clock that never jumps; the same during one turn of the worker.
---@return number
function mr.now() end

--- Seconds since 1970.
---@return number
function mr.time() end

--- A number from 0 up to 1, without arguments; else a whole number from first to last. Not for secrets.
---@param first? integer 1 when there is only one argument, which is the last
---@param last? integer
---@return number
function mr.random(first, last) end

--- Waits.
---@async
---@param seconds number
function mr.sleep(seconds) end

--- Runs a function beside everything else, until it ends or the script is retired.
---@param run async fun(...)
---@param ... any its arguments
---@return moonring.Task
function mr.spawn(run, ...) end

--- Runs a function once, later.
---@param seconds number
---@param run async fun()
---@return moonring.Task
function mr.after(seconds, run) end

--- At the top level: runs a function when a reload has put another script in this one's place, on each worker. It may wait
--- while sessions keep the old script.
---@param run async fun()
function mr.on_retire(run) end

--- Runs a function again and again. At the top level: in one worker, unless `{ where = "all" }`. A run that takes longer
--- than the time between two leaves out those it misses.
---@param seconds number more than 0
---@param run async fun()
---@param options? { where: "all" }
---@return moonring.Task
function mr.every(seconds, run, options) end

--- Runs functions at the same time and waits for all. An error of one is raised when all have ended.
---@async
---@param ... async fun(): any
---@return any ... the first value of each
function mr.all(...) end

--- Runs functions at the same time and waits for the first that ends; the others are cancelled. Its error is raised.
---@async
---@param ... async fun(): any
---@return any ... its values
function mr.race(...) end

---@class moonring.Task
local Task = {}

--- Ends it where it waits. Nothing happens when it is over already.
function Task:cancel() end

--- Something to wait for: hooks and tasks of one session, or of several.
---@return moonring.Signal
function mr.signal() end

---@class moonring.Signal
local Signal = {}

--- Wakes all who wait. When nobody does, the next one need not wait.
function Signal:set() end

--- Waits until it is set.
---@async
---@param seconds? number
---@return boolean set false: the time is over
function Signal:wait(seconds) end

--- A number that only grows: sessions, errors. Only at the top level; so the next two.
---@param name string as Prometheus allows it
---@param help string
---@param labels? string[]
---@return moonring.Counter | moonring.Family counter with labels: `counter:with(...)` first
function mr.counter(name, help, labels) end

--- A number that goes up and down: what is there now. What is shown is the sum of all workers.
---@param name string
---@param help string
---@param labels? string[]
---@return moonring.Gauge | moonring.Family gauge
function mr.gauge(name, help, labels) end

--- How often values came, by ranges: durations, sizes.
---@param name string
---@param help string
---@param labels? string[]
---@param buckets? number[] upper bounds, growing; 0.005 to 10 when left out
---@return moonring.Histogram | moonring.Family histogram
function mr.histogram(name, help, labels, buckets) end

--- A metric with labels.
---@class moonring.Family
local Family = {}

--- The one for these values, one for each label. Beyond 1000 combinations: one for all the others.
---@param ... string | number | boolean
---@return any metric
function Family:with(...) end

---@class moonring.Counter
local Counter = {}

--- Adds.
---@param number? number from 0 on; 1 when left out
function Counter:inc(number) end

---@class moonring.Gauge
local Gauge = {}

--- Sets this worker's part.
---@param number number
function Gauge:set(number) end

--- Adds to this worker's part.
---@param number? number 1 when left out
function Gauge:inc(number) end

--- Subtracts from this worker's part.
---@param number? number 1 when left out
function Gauge:dec(number) end

---@class moonring.Histogram
local Histogram = {}

--- Counts a value.
---@param number number
function Histogram:observe(number) end

--- Lines for the error log: at most 100 a second of one script.
mr.log = {}

---@param ... any
function mr.log.error(...) end

---@param ... any
function mr.log.warn(...) end

--- The same as print.
---@param ... any
function mr.log.info(...) end

---@param ... any
function mr.log.debug(...) end

--- The worker that runs this.
---@class moonring.Worker
---@field id integer from 0 on
mr.worker = {}

-- ---- numbers as bytes ---------------------------------------------------------------------------------------------------

--- One byte.
---@param number integer 0 to 255; a number that does not fit raises an error, as in those below
---@return string
function mr.u8(number) end

--- Two bytes, the high one first.
---@param number integer
---@return string
function mr.u16be(number) end

--- Two bytes, the low one first.
---@param number integer
---@return string
function mr.u16le(number) end

--- Three bytes, the high one first.
---@param number integer
---@return string
function mr.u24be(number) end

--- Three bytes, the low one first.
---@param number integer
---@return string
function mr.u24le(number) end

--- Four bytes, the high one first.
---@param number integer
---@return string
function mr.u32be(number) end

--- Four bytes, the low one first.
---@param number integer
---@return string
function mr.u32le(number) end

--- Eight bytes, the high one first.
---@param number number 0 to 2^53
---@return string
function mr.u64be(number) end

--- Eight bytes, the low one first.
---@param number number 0 to 2^53
---@return string
function mr.u64le(number) end

--- Seven bits a byte, the lowest first.
---@param number number 0 to 2^53
---@return string
function mr.varint(number) end

-- ---- protocols ----------------------------------------------------------------------------------------------------------

--- Redis.
mr.resp = {}

--- A loop over the commands of a client. Shown is a command up to its name and first key.
---@param buf moonring.Buf
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function mr.resp.commands(buf) end

--- A loop over the replies of a server.
---@param buf moonring.Buf
---@param see? integer no more of a reply is shown
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function mr.resp.replies(buf, see) end

--- The name of a command, in upper case; "" of an empty one.
---@param command moonring.Frame
---@return string
function mr.resp.name(command) end

--- The first argument of a command, as far as it is shown.
---@param command moonring.Frame
---@return string? key nil: it has none
function mr.resp.key(command) end

--- PostgreSQL.
mr.pg = {}

--- A loop over the messages of either side. After an accepted request for encryption all bytes pass unseen.
---@param buf moonring.Buf
---@param see? integer no more of a message is shown
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function mr.pg.messages(buf, see) end

--- What a message is: its type, a letter; or a word where it has none.
---@param message moonring.Frame
---@return string | "startup" | "tls" | "encryption" | "cancel" | "accepted" | "refused"
function mr.pg.kind(message) end

---@class moonring.PgStartup
---@field kind "startup" | "tls" | "encryption" | "cancel"
---@field size integer
---@field user string of a startup
---@field database string of a startup; the user's name when the client names none
---@field parameters table<string, string> of a startup
---@field process integer of a cancel
---@field secret string of a cancel

--- Reads the first message of a client.
---@param bytes moonring.Bytes
---@return moonring.PgStartup? startup
---@return "more" | "no" | nil why
---@return string? reason
function mr.pg.startup(bytes) end

--- HTTP/1.
mr.http1 = {}

--- A loop over requests, in from_client. Shown is the head; what is decided holds for the body too.
---@param buf moonring.Buf
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function mr.http1.requests(buf) end

--- A loop over responses, in from_server. Raises unless from_client has a loop over requests.
---@param buf moonring.Buf
---@return fun(buf: moonring.Buf): moonring.Frame? next
---@return moonring.Buf buf
function mr.http1.responses(buf) end

---@class moonring.HttpHeader
---@field name string as it was written
---@field value string
---@field at integer where its line begins
---@field size integer of its line, with the end

---@class moonring.HttpHead
---@field kind "request" | "response"
---@field version "1.0" | "1.1"
---@field method string of a request
---@field target string of a request
---@field status integer of a response
---@field phrase string of a response
---@field length number? of the body, when the head says so
---@field size integer of the head, with the empty line
---@field chunked boolean
---@field keep_alive boolean
---@field upgrade boolean it asks for another protocol, or grants one
---@field headers moonring.HttpHeader[] in their order; also by name in lower case: the value of the first one

--- Reads the head of a request or a response. One that two readers could take in two ways is refused.
---@param bytes moonring.Bytes
---@return moonring.HttpHead? head
---@return "more" | "no" | nil why
---@return string? reason
function mr.http1.head(bytes) end

--- TLS.
mr.tls = {}

---@class moonring.TlsHello
---@field name string? the server that is asked for (SNI), in lower case
---@field version string the highest that is offered, like "1.3"
---@field versions string[] as offered
---@field alpn string[] the protocols, the dearest first
---@field size integer

--- Reads the first message of a client. 16 KiB at most.
---@param bytes moonring.Bytes
---@return moonring.TlsHello? hello
---@return "more" | "no" | nil why
---@return string? reason
function mr.tls.hello(bytes) end

--- Frames with a number in front that tells their length. Keep what it returns: `for frame in frames(buf) do`.
---@param fields { at?: integer, bytes?: integer, add?: integer, order?: "be" | "le", max?: number } the number begins at byte `at` (1) and has `bytes` (4) bytes; a frame is `add` (4) bytes longer than it says, and at most `max`
---@return fun(buf: moonring.Buf, see?: integer): (fun(buf: moonring.Buf): moonring.Frame?), moonring.Buf
function mr.len_prefix(fields) end

return mr
