-- Begins an epoch, unless a later one holds already.
-- KEYS[1] the marker; ARGV[1] the epoch's number; ARGV[2] the second from which an absent counter is known to be empty
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or 'hidden'
local present = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):')
if present and tonumber(present) > tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1] .. ':' .. ARGV[2] .. ':' .. run)
return 1
