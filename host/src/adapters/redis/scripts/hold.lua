-- Keeps places of one provider alive.
-- KEYS: 1 places, 2 owners
-- ARGV: 1 node, 2 life in ms, 3 'over' to take them over from whoever has them, else '',
--       4… steps
-- Answers: how many are this node's
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local held = 0
for index = 4, #ARGV do
    local owner = redis.call('HGET', KEYS[2], ARGV[index])
    if ARGV[3] == 'over' or not owner or owner == ARGV[1] then
        redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[index])
        redis.call('HSET', KEYS[2], ARGV[index], ARGV[1])
        held = held + 1
    end
end
if held > 0 then
    for _, key in ipairs({ KEYS[1], KEYS[2] }) do
        redis.call('PEXPIRE', key, 2 * tonumber(ARGV[2]))
    end
end
return held
