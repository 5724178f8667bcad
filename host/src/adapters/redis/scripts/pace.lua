-- Takes a request at a provider out of those that all nodes may make in a second.
-- KEYS: 1 pace (hash; `full`: when the bucket is full again, in us), 2 callers (sorted set of
--       nodes that made requests lately, score: until when in ms)
-- ARGV: 1 node, 2 time between two requests in us, 3 requests that are saved up, in us,
--       4 longest wait in us, 5 how long a node counts as a caller, in ms
-- Answers: {us to wait, nodes}, or {-1, nodes} when it would be longer
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local today = math.floor(now / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', today)
redis.call('ZADD', KEYS[2], today + ARGV[5], ARGV[1])
redis.call('PEXPIRE', KEYS[2], 2 * ARGV[5])
local nodes = redis.call('ZCARD', KEYS[2])
local full = tonumber(redis.call('HGET', KEYS[1], 'full') or '0')
-- A clock that was set back must not stop everybody: nobody ever waits for so long.
if full < now or full > now + 3600000000 then
    full = now
end
full = full + ARGV[2]
local wait = math.max(full - ARGV[3] - now, 0)
if wait > tonumber(ARGV[4]) then
    return { -1, nodes }
end
redis.call('HSET', KEYS[1], 'full', string.format('%.0f', full))
redis.call('PEXPIRE', KEYS[1], math.ceil((full - now) / 1000) + 1000)
return { wait, nodes }
