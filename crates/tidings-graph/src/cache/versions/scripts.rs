//! What Redis does in one step each.
//!
//! A scope's value is its version of 8 bytes, and behind it a record of 21 bytes for each mark: whose it
//! is, in 8 bytes, and when it ends by the server's clock, in 13 digits of milliseconds.

/// The server's clock, and the marks of a value that stand; for the scripts below.
const PRELUDE: &str = r"
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local function marks(value, but)
  local kept = {}
  for at = 9, #value, 21 do
    local mark = string.sub(value, at, at + 20)
    if string.sub(mark, 1, 8) ~= but and tonumber(string.sub(mark, 9)) > now then
      kept[#kept + 1] = mark
    end
  end
  return table.concat(kept)
end
";

/// Marks scopes. KEYS: scopes. ARGV: operation, version, lease, time to live. Gives how many others have
/// marked.
const MARK: &str = r"
local mark = ARGV[1] .. string.format('%013.0f', now + ARGV[3])
local shared = 0
for _, key in ipairs(KEYS) do
  local others = marks(redis.call('GET', key) or '', ARGV[1])
  if others ~= '' then shared = shared + 1 end
  redis.call('SET', key, ARGV[2] .. others .. mark, 'PX', ARGV[4])
end
return shared
";

/// Takes marks away and gives new versions. KEYS: scopes. ARGV: operation, version of the mark, new
/// version, time to live. Gives how many others have written to meanwhile.
const SETTLE: &str = r"
local shared = 0
for _, key in ipairs(KEYS) do
  local value = redis.call('GET', key)
  if value then
    local others = marks(value, ARGV[1])
    if others ~= '' or string.sub(value, 1, 8) ~= ARGV[2] then shared = shared + 1 end
    redis.call('SET', key, ARGV[3] .. others, 'PX', ARGV[4])
  else
    shared = shared + 1
  end
end
return shared
";

/// Gives versions to scopes that have none, or no mark that stands. KEYS: the epoch, scopes. ARGV:
/// version, time to live. Gives all values.
const OPEN: &str = r"
local values = { redis.call('GET', KEYS[1]) or '' }
for at = 2, #KEYS do
  local value = redis.call('GET', KEYS[at])
  if not value or (#value > 8 and marks(value, '') == '') then
    value = ARGV[1]
    redis.call('SET', KEYS[at], value, 'PX', ARGV[2])
  end
  values[at] = value
end
return values
";

/// Keeps an answer if its versions are the current ones. KEYS: the epoch, scopes, the answer. ARGV: the
/// versions in the order of the keys, the answer, its time to live, that of the scopes. Says whether.
const FILL: &str = r"
local last = #KEYS
for at = 1, last - 1 do
  if redis.call('GET', KEYS[at]) ~= ARGV[at] then return 0 end
end
for at = 2, last - 1 do redis.call('PEXPIRE', KEYS[at], ARGV[last + 2]) end
redis.call('SET', KEYS[last], ARGV[last], 'PX', ARGV[last + 1])
return 1
";

/// Gives a sign of life. KEYS: the epoch, the nodes. ARGV: the node, lease, hold, an epoch, when the sign
/// is too late. Gives the server's clock, whether there is an epoch, and since when there is the list of
/// nodes: 0 if it was too late.
///
/// The epoch ends a lease after the oldest sign, whatever happens to those who would say so. Nobody is
/// dropped from the list before a hold is over, and it says itself how old it is: one that was lost has
/// to wait for those who were on it.
const BEAT: &str = r"
local lease, hold = tonumber(ARGV[2]), tonumber(ARGV[3])
if now > tonumber(ARGV[5]) then return { now, 0, 0 } end
local born = tonumber(redis.call('HGET', KEYS[2], 'born') or '')
if not born then
  redis.call('DEL', KEYS[1], KEYS[2])
  redis.call('HSET', KEYS[2], 'born', now)
  born = now
end
redis.call('HSET', KEYS[2], 'node:' .. ARGV[1], now)
redis.call('PEXPIRE', KEYS[2], hold * 10)
local oldest = now
local nodes = redis.call('HGETALL', KEYS[2])
for at = 1, #nodes, 2 do
  local beat = tonumber(nodes[at + 1])
  if nodes[at] ~= 'born' then
    if beat + hold < now then redis.call('HDEL', KEYS[2], nodes[at])
    elseif beat < oldest then oldest = beat end
  end
end
if now < born + hold or oldest + lease <= now then
  redis.call('DEL', KEYS[1])
  return { now, 0, born }
end
if redis.call('EXISTS', KEYS[1]) == 0 then redis.call('SET', KEYS[1], ARGV[4]) end
redis.call('PEXPIREAT', KEYS[1], oldest + lease)
return { now, 1, born }
";

/// Signs off. KEYS: the nodes. ARGV: the node.
const LEAVE: &str = "return redis.call('HDEL', KEYS[1], 'node:' .. ARGV[1])";

/// The scripts, by the digests that a server has given for them.
pub(super) struct Scripts {
    pub(super) mark: String,
    pub(super) settle: String,
    pub(super) open: String,
    pub(super) fill: String,
    pub(super) beat: String,
    pub(super) leave: String,
}

impl Scripts {
    /// Brings the scripts to the server.
    pub(super) async fn load(
        connection: &mut redis::aio::MultiplexedConnection,
    ) -> redis::RedisResult<Self> {
        let mut pipe = redis::pipe();
        for script in [MARK, SETTLE, OPEN, FILL, BEAT, LEAVE] {
            pipe.cmd("SCRIPT").arg("LOAD").arg(format!("{PRELUDE}{script}"));
        }
        let [mark, settle, open, fill, beat, leave] = pipe.query_async(connection).await?;
        Ok(Self { mark, settle, open, fill, beat, leave })
    }
}
