-- A token bucket as GCRA, in microseconds: the bucket keeps the instant at which it will be full again.
-- KEYS[1] the bucket; KEYS[2] when that was noted: a clock set back since leaves the bucket as far from full as it was
-- ARGV[1] tokens wanted; ARGV[2] interval between tokens; ARGV[3] tolerance (the burst, less its first);
-- ARGV[4] "turns": reserve them even if they lie ahead; "now": as many as there are now; ARGV[5] the present, or "" for this server's
-- Answers {present, the instant as it was} before the tokens were taken, as text (numbers would be cut).
local present
if ARGV[5] == '' then
  local time = redis.call('TIME')
  present = tonumber(time[1]) * 1000000 + tonumber(time[2])
else
  present = tonumber(ARGV[5])
end
local full_at = tonumber(redis.call('GET', KEYS[1]) or 0)
local noted_at = tonumber(redis.call('GET', KEYS[2]) or 0)
full_at = math.max(full_at - math.max(0, noted_at - present), present)
local interval, tolerance = tonumber(ARGV[2]), tonumber(ARGV[3])
local tokens, spare = tonumber(ARGV[1]), present + tolerance - full_at
if ARGV[4] ~= 'turns' then
  tokens = spare < 0 and 0 or math.min(tokens, math.floor(spare / interval) + 1)
end
if tokens > 0 then
  local next_full = full_at + tokens * interval
  local kept = math.ceil((next_full - present) / 1000) + 1000
  redis.call('SET', KEYS[1], string.format('%.3f', next_full), 'PX', kept)
  redis.call('SET', KEYS[2], string.format('%.0f', present), 'PX', kept)
end
return { string.format('%.3f', present), string.format('%.3f', full_at) }
