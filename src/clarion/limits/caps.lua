-- Rolling caps over packed counters, a batch in one call: what clarion/limits/caps.py and rolling.py do in memory.
--
-- KEYS[1]   the marker of the epoch: "number:warm:run", see clarion/limits/epochs.py
-- KEYS[2..] a counter each: 8 bytes a send in the order of time (second, big-endian; mark of the owner)
-- ARGV[1]   the epoch's number in which the caller believes to be
-- ARGV[2]   reserve, peek, restamp, touch, release or load
-- ARGV[3]   now, in whole seconds, rounded down          ARGV[4]  now, rounded up: the stamp
-- ARGV[5]   the marks of the owners, 4 bytes a request
-- ARGV[6]   MessagePack, by request: group (0: none), number of caps, then by cap: key, per hour, per day (-1: no limit)
-- ARGV[5..] for load: the content of each counter
--
-- Answers {0, MessagePack by request: 1 granted | 2 alternative used | 3, cap, span, limit, held, free (-1: never)},
-- {1, MessagePack of the keys that may have been lost: load them first}, or {2, the number of the epoch that holds here}.

local HOUR, DAY, SLACK, ENTRY = 3600, 86400, 60, 8
local RESTAMP_AFTER, MOST_UNLIMITED = 5, 1000
local SPANS = { HOUR, DAY }
local mode, now, stamp, marks = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]
local sends, changed = {}, {}

-- A restart may have brought back an old snapshot: a server process that didn't begin this epoch can't be trusted.
local function epoch()
  local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or 'hidden'
  local number, warm, begun_by = string.match(redis.call('GET', KEYS[1]) or '', '^(%d+):(%d+):(%w+)$')
  return number or '0', tonumber(warm), begun_by == run
end

local function second(packed, place)
  return struct.unpack('>I4', packed, (place - 1) * ENTRY + 1)
end

local function find(packed, owner)
  local at = string.find(packed, owner, 1, true)
  while at do
    if at % ENTRY == 5 then return (at + 3) / ENTRY end
    at = string.find(packed, owner, at + 1, true)
  end
end

local function fresh(packed, owner)
  local place = find(packed, owner)
  return place and now - second(packed, place) <= RESTAMP_AFTER
end

local function without(packed, owner)
  local place = find(packed, owner)
  if not place then return packed end
  return string.sub(packed, 1, (place - 1) * ENTRY) .. string.sub(packed, place * ENTRY + 1)
end

local function full(packed, limit, span)
  local count = #packed / ENTRY
  if limit < 0 or count < limit then return nil end
  local edge = now - span
  local first = limit > 0 and second(packed, count - limit + 1)
  if first and first <= edge then return nil end
  local held = limit
  while held < count and second(packed, count - held) > edge do held = held + 1 end
  return held, first and first + span or -1
end

local function later(a, b)
  return b ~= -1 and (a == -1 or a > b)
end

local function remove(key, owner)
  local rest = without(sends[key], owner)
  if rest ~= sends[key] then sends[key], changed[key] = rest, true end
end

local function put(key, owner)
  remove(key, owner)
  local packed = sends[key]
  local place = #packed / ENTRY
  while place > 0 and second(packed, place) > stamp do place = place - 1 end
  packed = string.sub(packed, 1, place * ENTRY) .. struct.pack('>I4', stamp) .. owner .. string.sub(packed, place * ENTRY + 1)
  sends[key], changed[key] = packed, true
end

local function add(key, owner, per_hour, per_day)
  put(key, owner)
  local packed = sends[key]
  local count = #packed / ENTRY
  local spare, drop = count - math.max(per_day, 0), 0
  while drop < spare and second(packed, drop + 1) <= now - DAY do drop = drop + 1 end
  if per_hour < 0 and per_day < 0 then drop = math.max(drop, count - MOST_UNLIMITED) end
  sends[key] = string.sub(packed, drop * ENTRY + 1)
end

local function read_requests(flat)
  local requests, at = {}, 1
  while at <= #flat do
    local request = { group = flat[at], owner = string.sub(marks, #requests * 4 + 1, #requests * 4 + 4) }
    for cap = 1, flat[at + 1] do
      local from = at + cap * 3 - 1
      request[cap] = { flat[from], flat[from + 1], flat[from + 2] }
    end
    requests[#requests + 1] = request
    at = at + 2 + #request * 3
  end
  return requests
end

local function take(request, answers)
  local lacking, worst, worst_free = {}, nil, nil
  for cap, c in ipairs(request) do
    if not fresh(sends[c[1]], request.owner) then
      lacking[#lacking + 1] = c
      local others = without(sends[c[1]], request.owner)
      for span, seconds in ipairs(SPANS) do
        local held, free = full(others, c[span + 1], seconds)
        if held and (not worst or later(free, worst_free)) then
          worst, worst_free = { 3, cap, seconds, c[span + 1], held, free }, free
        end
      end
    end
  end
  if worst then
    for _, number in ipairs(worst) do answers[#answers + 1] = number end
    return false
  end
  for _, c in ipairs(lacking) do add(c[1], request.owner, c[2], c[3]) end
  answers[#answers + 1] = 1
  return true
end

local function holds_all(request)
  for _, c in ipairs(request) do
    if not fresh(sends[c[1]], request.owner) then return false end
  end
  return #request > 0
end

local function reserve(requests, answers)
  local winners = {}
  for i, request in ipairs(requests) do
    if request.group > 0 and not winners[request.group] and holds_all(request) then winners[request.group] = i end
  end
  for i, request in ipairs(requests) do
    if (winners[request.group] or i) ~= i then
      answers[#answers + 1] = 2
    elseif take(request, answers) and request.group > 0 then
      winners[request.group] = i
    end
  end
end

local function restamp(requests, answers)
  for _, request in ipairs(requests) do take(request, answers) end
end

local function touch(requests)
  for _, request in ipairs(requests) do
    for _, c in ipairs(request) do
      local place = find(sends[c[1]], request.owner)
      local age = place and now - second(sends[c[1]], place)
      if age and age > RESTAMP_AFTER and age < DAY then put(c[1], request.owner) end
    end
  end
end

local number, warm, trusted = epoch()
if number ~= ARGV[1] or not trusted then return { 2, number } end

if mode == 'load' then
  for i = 2, #KEYS do
    redis.call('SET', KEYS[i], ARGV[i + 3], 'EX', DAY + SLACK, 'NX')
  end
  return { 0, '' }
end

local cold = {}
for from = 2, #KEYS, 1000 do
  local values = redis.call('MGET', unpack(KEYS, from, math.min(from + 999, #KEYS)))
  for i, value in ipairs(values) do
    local key = from + i - 2
    if not value and now < warm then cold[#cold + 1] = key end
    sends[key] = value or ''
  end
end

local requests, answers = read_requests(cmsgpack.unpack(ARGV[6])), {}
if mode == 'release' then
  for _, request in ipairs(requests) do
    for _, c in ipairs(request) do remove(c[1], request.owner) end
  end
else
  if #cold > 0 then return { 1, cmsgpack.pack(cold) } end
  if mode == 'touch' then
    touch(requests)
  elseif mode == 'restamp' then
    restamp(requests, answers)
  else
    reserve(requests, answers)
  end
end
if mode ~= 'peek' then
  for key in pairs(changed) do
    redis.call('SET', KEYS[key + 1], sends[key], 'EX', DAY + SLACK)
  end
end
return { 0, cmsgpack.pack(answers) }
