-- A node says that it lives, and learns whether this Redis remembers what it remembered.
-- KEYS: 1 state (hash), 2 nodes (sorted set, score: until when, in ms)
-- ARGV: 1 node, 2 its life in ms, 3 the generation that it knows or '', 4 a fresh one,
--       5 wait after a loss in ms, 6 wait after a first start in ms
-- Answers: generation, ms until places are given out, number of living nodes
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local generation = redis.call('HGET', KEYS[1], 'generation')
local calm = tonumber(redis.call('HGET', KEYS[1], 'calm_at') or '0')
if not generation then
    generation = ARGV[4]
    calm = now + tonumber(ARGV[3] == '' and ARGV[6] or ARGV[5])
    redis.call('HSET', KEYS[1], 'generation', generation, 'calm_at', calm)
elseif ARGV[3] ~= '' and ARGV[3] ~= generation then
    -- Somebody else began anew while this node still knows who was there.
    calm = math.max(calm, now + tonumber(ARGV[5]))
    redis.call('HSET', KEYS[1], 'calm_at', calm)
end
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
redis.call('ZADD', KEYS[2], now + tonumber(ARGV[2]), ARGV[1])
return { generation, math.max(0, calm - now), redis.call('ZCARD', KEYS[2]) }
