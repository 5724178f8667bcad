-- Takes places of one provider for users' steps of one node.
-- KEYS: 1 state, 2 places (sorted set of steps, score: until when), 3 owners (hash, step to
--       node), 4 paid (hash, user to what was paid for turns; `now`: what whoever got a place
--       last had paid before), 5 line (sorted set of `node user`, score: until when it waits)
-- ARGV: 1 node, 2 generation, 3 limit, 4 life of a place in ms, 5 life in the line in ms,
--       6… each a step, its user and what its turn costs; none: nobody waits at this node any more
-- Answers: {0, 0, steps that got a place}, or {-1, 0, {}} when the generation is another one,
--       or {-2, ms to wait, {}}
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
if redis.call('HGET', KEYS[1], 'generation') ~= ARGV[2] then
    return { -1, 0, {} }
end
local elsewhere = {}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[5], '-inf', '+inf')) do
    local node, user = string.match(member, '^(%S+) (%S+)$')
    if node == ARGV[1] or tonumber(redis.call('ZSCORE', KEYS[5], member)) <= now then
        redis.call('ZREM', KEYS[5], member)
    else
        elsewhere[user] = true
    end
end
if #ARGV == 5 then
    return { 0, 0, {} }
end
local calm = tonumber(redis.call('HGET', KEYS[1], 'calm_at') or '0')
if calm > now then
    return { -2, calm - now, {} }
end
for _, step in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do
    redis.call('ZREM', KEYS[2], step)
    redis.call('HDEL', KEYS[3], step)
end
-- Who comes, or comes back, stands where those stand whose turn it is.
local virtual = tonumber(redis.call('HGET', KEYS[4], 'now') or '0')
local known = {}
local function paid(user)
    if not known[user] then
        known[user] = math.max(tonumber(redis.call('HGET', KEYS[4], user) or '0'), virtual)
    end
    return known[user]
end
local free = tonumber(ARGV[3]) - redis.call('ZCARD', KEYS[2])
local granted, done = {}, {}
while true do
    local best
    for index = 6, #ARGV, 3 do
        if not done[index] and (not best or paid(ARGV[index + 1]) < paid(ARGV[best + 1])) then
            best = index
        end
    end
    if not best then
        break
    end
    local step, user = ARGV[best], ARGV[best + 1]
    if not redis.call('ZSCORE', KEYS[2], step) then
        -- Each user who waits at another node and has paid less is left one place.
        local ahead = 0
        for other in pairs(elsewhere) do
            if other ~= user and paid(other) < paid(user) then
                ahead = ahead + 1
            end
        end
        if free <= ahead then
            break
        end
        free = free - 1
        virtual = math.max(virtual, paid(user))
        known[user] = paid(user) + tonumber(ARGV[best + 2])
        redis.call('HSET', KEYS[4], user, string.format('%.0f', known[user]))
    end
    redis.call('ZADD', KEYS[2], now + tonumber(ARGV[4]), step)
    redis.call('HSET', KEYS[3], step, ARGV[1])
    done[best] = true
    granted[#granted + 1] = step
end
if #granted > 0 then
    redis.call('HSET', KEYS[4], 'now', string.format('%.0f', virtual))
    redis.call('PEXPIRE', KEYS[4], 3600000)
    for _, key in ipairs({ KEYS[2], KEYS[3] }) do
        redis.call('PEXPIRE', key, 2 * tonumber(ARGV[4]))
    end
    if redis.call('HLEN', KEYS[4]) > 1000 then
        local turns = redis.call('HGETALL', KEYS[4])
        for index = 1, #turns, 2 do
            if turns[index] ~= 'now' and tonumber(turns[index + 1]) <= virtual then
                redis.call('HDEL', KEYS[4], turns[index])
            end
        end
    end
end
for index = 6, #ARGV, 3 do
    if not done[index] then
        local member = ARGV[1] .. ' ' .. ARGV[index + 1]
        redis.call('ZADD', KEYS[5], now + tonumber(ARGV[5]), member)
        redis.call('PEXPIRE', KEYS[5], 2 * tonumber(ARGV[5]))
    end
end
return { 0, 0, granted }
