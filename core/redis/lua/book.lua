-- Books capacity for containers on nodes: all or none.
-- KEYS: 1 nodes (hash: id -> facts), 2 the earmark: what is kept free for the gang that has waited longest (JSON)
-- ARGV: 1 prefix of booking hashes (one per node: container -> booking), 2 prefix of the nodes' signs of life, 3 JSON list of requests,
--   4 "" or, of a gang, how many milliseconds it has been waiting: its requests are alike, name one node, and may go to those that it meets,
--   5... less these: they lack its image
-- Returns: {1, JSON list of bookings} or {0, what is missing, in words}: for all requests on the node together, as less would not help
local requests = cjson.decode(ARGV[3])
local nodes, booked, per_function = {}, {}, {}
local ids = redis.call('HKEYS', KEYS[1])
table.sort(ids)
for _, id in ipairs(ids) do
  booked[id] = {cpuMillis = 0, memoryBytes = 0, gpus = {}, containers = {}}
  -- What a node that is gone had booked holds nobody back.
  local all = redis.call('EXISTS', ARGV[2] .. id) == 1 and redis.call('HVALS', ARGV[1] .. id) or {}
  for _, text in ipairs(all) do
    local booking = cjson.decode(text)
    -- What waits for calls has lent its place.
    if not booking.waits then booked[id].cpuMillis = booked[id].cpuMillis + booking.cpuMillis else booked[id].lends = true end
    booked[id].memoryBytes = booked[id].memoryBytes + booking.memoryBytes
    booked[id].containers[booking.container] = text
    for _, uuid in ipairs(booking.gpus) do booked[id].gpus[uuid] = booking.key end
    if not booking.waits then per_function[booking.key] = (per_function[booking.key] or 0) + 1 end
  end
  nodes[id] = cjson.decode(redis.call('HGET', KEYS[1], id))
end

local function mib(bytes) return math.floor(bytes / 1048576) .. ' MiB' end

local function is_model(gpu, model)
  return model == 'any' or string.find(string.lower(gpu.model), string.lower(model), 1, true)
end

-- How many containers such as the request's there is room for, beside what is in `use`: altogether, and by what each resource alone
-- would do for.
local function places(node, use, request)
  local of = {cpu = math.huge, memory = math.huge, gpu = math.huge}
  if request.cpuMillis > 0 then of.cpu = math.floor((node.cpuMillis - use.cpuMillis) / request.cpuMillis) end
  if request.memoryBytes > 0 then of.memory = math.floor((node.memoryBytes - use.memoryBytes) / request.memoryBytes) end
  if type(request.gpu) == 'table' then
    local free = 0
    for _, gpu in ipairs(node.gpus) do
      if is_model(gpu, request.gpu.model) and not use.gpus[gpu.uuid] then free = free + 1 end
    end
    of.gpu = math.floor(free / request.gpu.count)
  end
  for name, count in pairs(of) do of[name] = math.max(0, count) end
  of.all = math.min(of.cpu, of.memory, of.gpu)
  return of
end
local NOTHING = {cpuMillis = 0, memoryBytes = 0, gpus = {}}
local rooms = {}
local function room(id, request)
  rooms[id] = rooms[id] or places(nodes[id], booked[id], request)
  return rooms[id]
end

local without = {}
for i = 5, #ARGV do without[ARGV[i]] = true end

-- Nodes that the first one meets, itself first: those it has something in common with. It is tried by one such thing after the other.
local function groups(first)
  local found = {}
  for _, meeting in ipairs(nodes[first].meets or {}) do
    local group = {first}
    for _, id in ipairs(ids) do
      local node = nodes[id]
      local there = id ~= first and not without[id] and node.engine == nodes[first].engine and not node.draining
        and redis.call('EXISTS', ARGV[2] .. id) == 1
      for _, other in ipairs(there and node.meets or {}) do
        if other == meeting then group[#group + 1] = id end
      end
    end
    if #group > 1 then found[#found + 1] = group end
  end
  return found
end

-- What nodes lack together, in the words that one node's lack has.
local function lack_of(group, request, wanted)
  local sums, free = {cpu = 0, memory = 0, gpu = 0}, 0
  local holders, names = {}, {}
  for _, id in ipairs(group) do
    local of = room(id, request)
    free = free + math.min(of.all, wanted)
    for name, _ in pairs(sums) do sums[name] = sums[name] + math.min(of[name], wanted) end
    for _, gpu in ipairs(type(request.gpu) == 'table' and nodes[id].gpus or {}) do
      local holder = booked[id].gpus[gpu.uuid]
      if holder and is_model(gpu, request.gpu.model) then
        if not holders[holder] then names[#names + 1] = holder end
        holders[holder] = (holders[holder] or 0) + 1
      end
    end
  end
  local where = ' free on ' .. #group .. ' nodes'
  if sums.gpu <= sums.cpu and sums.gpu <= sums.memory then
    for _, name in ipairs(names) do where = where .. ', ' .. holders[name] .. ' held by ' .. name end
    local each = request.gpu.count
    return 'no ' .. request.gpu.model .. ' free: ' .. wanted * each .. ' asked, ' .. free * each .. where
  elseif sums.cpu <= sums.memory then
    local each = request.cpuMillis / 1000
    return 'no cpu: ' .. wanted * each .. ' asked, ' .. free * each .. where
  end
  local each = request.memoryBytes
  return 'no memory: ' .. mib(wanted * each) .. ' asked, ' .. mib(free * each) .. where
end

-- After so long what becomes free is kept for a gang, for as long as it asks: on as few nodes as will do, first where most is free.
local EARMARK_AFTER_MS, EARMARK_MS = 30000, 5000
local mark = redis.call('GET', KEYS[2])
mark = mark and cjson.decode(mark)
local function earmark(group, request, wanted, waited)
  local time = redis.call('TIME')
  local since = math.floor(time[1] * 1000 + time[2] / 1000) - waited
  if waited < EARMARK_AFTER_MS or mark and mark.key ~= request.key and mark.since <= since then return end
  local quota, left = {}, wanted
  local function keep(id, count)
    if count > 0 then quota[id] = count end
    left = left - math.max(0, count)
  end
  if mark and mark.key == request.key then
    since = math.min(since, mark.since)
    for _, id in ipairs(group) do keep(id, math.min(left, mark.quota[id] or 0)) end
  end
  if left > 0 then
    quota, left = {}, wanted
    table.sort(group, function(a, b)
      local of_a, of_b = room(a, request).all, room(b, request).all
      return of_a > of_b or of_a == of_b and a < b
    end)
    for _, id in ipairs(group) do keep(id, math.min(left, places(nodes[id], NOTHING, request).all)) end
  end
  mark = {key = request.key, since = since, cpuMillis = request.cpuMillis, memoryBytes = request.memoryBytes,
    gpu = request.gpu, quota = quota}
  redis.call('SET', KEYS[2], cjson.encode(mark), 'PX', EARMARK_MS)
end

-- Would this take from what is kept for a gang? Not where something waits for calls: they may be what the request is for.
local function is_kept(request, node, use)
  local kept = mark and mark.key ~= request.key and not use.lends and mark.quota[request.node]
  if not kept then return false end
  local function is_short(free, takes, needs) return takes > 0 and needs > 0 and free - takes < kept * needs end
  if is_short(node.cpuMillis - use.cpuMillis, request.cpuMillis, mark.cpuMillis) then return true end
  if is_short(node.memoryBytes - use.memoryBytes, request.memoryBytes, mark.memoryBytes) then return true end
  if type(request.gpu) ~= 'table' or type(mark.gpu) ~= 'table' then return false end
  local free = 0
  for _, gpu in ipairs(node.gpus) do
    if is_model(gpu, mark.gpu.model) and not use.gpus[gpu.uuid] then free = free + 1 end
  end
  return is_short(free, request.gpu.count, mark.gpu.count)
end

-- A gang that its first node has no room for altogether is spread: most there, where rank 0 is, the others on as few nodes as will do.
-- Where one node would be large enough for all of it, that is awaited a little.
local TORN_AFTER_MS = 2000
local function spread(waited)
  local open, request = {}, requests[1]
  for _, one in ipairs(requests) do
    local at
    for _, id in ipairs(ids) do if booked[id].containers[one.container] then at = id end end
    if at then one.node = at else open[#open + 1] = one end
  end
  local lead = request.node
  if #open == 0 or not nodes[lead] or room(lead, request).all >= #open then return end
  local refused
  for _, group in ipairs(groups(lead)) do
    local sum, one_would_do = 0, false
    for _, id in ipairs(group) do
      local free = room(id, request).all
      sum = sum + free
      one_would_do = one_would_do or places(nodes[id], NOTHING, request).all >= #open
      -- Its runner asks, too.
      if free >= #open and waited < TORN_AFTER_MS then return id .. ' has room for all ' .. #open .. ' containers, and may start them' end
    end
    if one_would_do and waited < TORN_AFTER_MS then return end
    if sum < #open then
      refused = lack_of(group, request, #open)
      earmark(group, request, #open, waited)
    elseif room(lead, request).all > 0 then
      local others = {unpack(group, 2)}
      table.sort(others, function(a, b)
        local of_a, of_b = room(a, request).all, room(b, request).all
        return of_a > of_b or of_a == of_b and a < b
      end)
      local next_one = 1
      for _, id in ipairs({lead, unpack(others)}) do
        for _ = 1, room(id, request).all do
          if open[next_one] then open[next_one].node = id end
          next_one = next_one + 1
        end
      end
      return
    end
  end
  return refused
end
local lead = requests[1].node
if ARGV[4] ~= '' then
  local refused = spread(tonumber(ARGV[4]))
  if refused then return {0, refused} end
end

-- Of what is asked for on each node, less what is booked already; and of what this call has given out there so far.
local asked, given = {}, {}
for id, _ in pairs(nodes) do
  asked[id] = {cpuMillis = 0, memoryBytes = 0, gpus = 0}
  given[id] = {cpuMillis = 0, memoryBytes = 0, gpus = 0}
end
local function add(to, request)
  to.cpuMillis = to.cpuMillis + request.cpuMillis
  to.memoryBytes = to.memoryBytes + request.memoryBytes
  if type(request.gpu) == 'table' then to.gpus = to.gpus + request.gpu.count end
end
for _, request in ipairs(requests) do
  local use = booked[request.node]
  if use and not use.containers[request.container] then add(asked[request.node], request) end
end

local made, answers, given_now = {}, {}, {}
for _, request in ipairs(requests) do
  local node, use = nodes[request.node], booked[request.node]
  if not node then return {0, 'node ' .. request.node .. ' is not there'} end
  local again = use.containers[request.container]
  if again then
    answers[#answers + 1] = again
  else
    local count = (per_function[request.key] or 0) + 1
    if count > request.maxContainers then
      return {0, 'all ' .. request.maxContainers .. ' containers of ' .. request.key .. ' are busy (max_containers)'}
    end
    if is_kept(request, node, use) then
      return {0, 'what is free on ' .. request.node .. ' is kept for the gang of ' .. mark.key .. ', which has waited longest'}
    end
    local all, before = asked[request.node], given[request.node]
    local cpu_left, memory_left = node.cpuMillis - use.cpuMillis, node.memoryBytes - use.memoryBytes
    if request.cpuMillis > cpu_left then
      return {0, 'no cpu: ' .. all.cpuMillis / 1000 .. ' asked, ' .. (cpu_left + before.cpuMillis) / 1000 .. ' free on ' .. request.node}
    end
    if request.memoryBytes > memory_left then
      return {0, 'no memory: ' .. mib(all.memoryBytes) .. ' asked, ' .. mib(memory_left + before.memoryBytes) .. ' free on ' .. request.node}
    end
    local gpus = {}
    if type(request.gpu) == 'table' then
      local holders, names = {}, {}
      for _, gpu in ipairs(node.gpus) do
        if is_model(gpu, request.gpu.model) and #gpus < request.gpu.count then
          local holder = use.gpus[gpu.uuid]
          if not holder then
            gpus[#gpus + 1] = gpu.uuid
          elseif not given_now[gpu.uuid] then
            if not holders[holder] then names[#names + 1] = holder end
            holders[holder] = (holders[holder] or 0) + 1
          end
        end
      end
      if #gpus < request.gpu.count then
        local held = ''
        for _, name in ipairs(names) do held = held .. ', ' .. holders[name] .. ' held by ' .. name end
        return {0, 'no ' .. request.gpu.model .. ' free: ' .. all.gpus .. ' asked, ' .. #gpus + before.gpus .. ' free on '
          .. request.node .. held}
      end
    end
    for _, uuid in ipairs(gpus) do
      use.gpus[uuid] = request.key
      given_now[uuid] = true
    end
    add(before, request)
    use.cpuMillis = use.cpuMillis + request.cpuMillis
    use.memoryBytes = use.memoryBytes + request.memoryBytes
    per_function[request.key] = count
    local text = cjson.encode({container = request.container, node = request.node, key = request.key, cpuMillis = request.cpuMillis,
      memoryBytes = request.memoryBytes, gpus = gpus, lead = request.node ~= lead and lead or nil})
    answers[#answers + 1] = text
    made[#made + 1] = {ARGV[1] .. request.node, request.container, text}
  end
end
for _, booking in ipairs(made) do redis.call('HSET', booking[1], booking[2], booking[3]) end
if mark and #made > 0 and mark.key == requests[1].key then redis.call('DEL', KEYS[2]) end
return {1, '[' .. table.concat(answers, ',') .. ']'}
