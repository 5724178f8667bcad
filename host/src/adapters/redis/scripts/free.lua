-- Gives places of one provider back, and tells those that wait.
-- KEYS: 1 places, 2 owners, 3 line
-- ARGV: 1 node, 2 channel, 3 message, 4… steps
-- Answers: how many were this node's
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local freed = 0
for index = 4, #ARGV do
    if redis.call('HGET', KEYS[2], ARGV[index]) == ARGV[1] then
        redis.call('ZREM', KEYS[1], ARGV[index])
        redis.call('HDEL', KEYS[2], ARGV[index])
        freed = freed + 1
    end
end
if freed > 0 and redis.call('ZCOUNT', KEYS[3], now, '+inf') > 0 then
    redis.call('PUBLISH', ARGV[2], ARGV[3])
end
return freed
