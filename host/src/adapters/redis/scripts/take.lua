-- Takes places of one provider for steps of one node.
-- KEYS: 1 state, 2 places (sorted set of steps, score: until when), 3 owners (hash, step to
--       node), 4 line (sorted set of nodes that wait, score: since when), 5 line's lives
--       (sorted set of nodes, score: until when)
-- ARGV: 1 node, 2 generation, 3 limit, 4 life of a place in ms, 5 life in the line in ms,
--       6… steps; none: nobody waits at this node any more
-- Answers: {granted, 0}, or {-1, 0} when the generation is another one, or {-2, ms to wait}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[2] then
    return { -1, 0 }
end
local wanted = #ARGV - 5
if wanted == 0 then
    redis.call('ZREM', KEYS[4], ARGV[1])
    redis.call('ZREM', KEYS[5], ARGV[1])
    return { 0, 0 }
end
local calm = tonumber(redis.call('HGET', KEYS[1], 'calm_at') or '0')
if calm > now then
    return { -2, calm - now }
end
for _, step in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
    redis.call('ZREM', KEYS[2], step)
    redis.call('HDEL', KEYS[3], step)
end
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', now)) do
    redis.call('ZREM', KEYS[5], node)
    redis.call('ZREM', KEYS[4], node)
end
-- Each node that has waited longer is left one place.
local ahead = redis.call('ZRANK', KEYS[4], ARGV[1]) or redis.call('ZCARD', KEYS[4])
local free = tonumber(ARGV[3]) - redis.call('ZCARD', KEYS[2]) - ahead
local granted = 0
for index = 6, #ARGV do
    if not redis.call('ZSCORE', KEYS[2], ARGV[index]) then
        if free <= 0 then
            break
        end
        free = free - 1
    end
    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), ARGV[index])
    redis.call('HSET', KEYS[3], ARGV[index], ARGV[1])
    granted = granted + 1
end
if granted > 0 then
    redis.call('ZREM', KEYS[4], ARGV[1])
    redis.call('ZREM', KEYS[5], ARGV[1])
    for _, key in ipairs({ KEYS[2], KEYS[3] }) do
        redis.call('PEXPIRE', key, 2 * tonumber(ARGV[4]))
    end
end
if granted < wanted then
    redis.call('ZADD', KEYS[4], 'NX', now, ARGV[1])
    redis.call('ZADD', KEYS[5], now + tonumber(ARGV[5]), ARGV[1])
    for _, key in ipairs({ KEYS[4], KEYS[5] }) do
        redis.call('PEXPIRE', key, 2 * tonumber(ARGV[5]))
    end
end
return { granted, 0 }
