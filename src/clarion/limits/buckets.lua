-- A token bucket as GCRA, in microseconds: the bucket keeps the instant at which it will be full again.
-- KEYS[1] the bucket; ARGV[1] tokens wanted; ARGV[2] interval between tokens; ARGV[3] tolerance (the burst, less its first);
-- ARGV[4] "turns": reserve them even if they lie ahead; "now": as many as there are now; ARGV[5] the present, or "" for this server's
-- Answers {present, the instant as it was} before the tokens were taken, as text (numbers would be cut).
local present
if ARGV[5] == '' then
  local time = redis.call('TIME')
  present = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  present = tonumber(ARGV[5])
end
local full_at = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), present)
local interval, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens, spare = tonumber(ARGV[1]), present + tolerance - full_at
if ARGV[4] ~= 'turns' then
  tokens = spare < 0 and 0 or math.min(tokens, math.floor(spare / interval) + 1)
end
if tokens > 0 then
  local next_full = full_at + tokens * interval
  redis.call('SET', KEYS[1], string.format('%.3f', next_full), 'PX', math.ceil((next_full - present) / 1000) + 1000)
end
return { string.format('%.3f', present), string.format('%.3f', full_at) }
