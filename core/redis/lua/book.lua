-- Books capacity for containers on nodes: all or none.
-- KEYS: 1 nodes (hash: id -> facts)
-- ARGV: 1 prefix of booking hashes (one per node: container -> booking), 2 prefix of the nodes' signs of life, 3 JSON list of requests
-- Returns: {1, JSON list of bookings} or {0, what is missing, in words}: for all requests on the node together, as less would not help
local requests = cjson.decode(ARGV[3])
local nodes, booked, per_function = {}, {}, {}
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  booked[id] = {cpuMillis = 0, memoryBytes = 0, gpus = {}, containers = {}}
  -- What a node that is gone had booked holds nobody back.
  local all = redis.call('EXISTS', ARGV[2] .. id) == 1 and redis.call('HVALS', ARGV[1] .. id) or {}
  for _, text in ipairs(all) do
    local booking = cjson.decode(text)
    -- What waits for calls has lent its place.
    if not booking.waits then booked[id].cpuMillis = booked[id].cpuMillis + booking.cpuMillis end
    booked[id].memoryBytes = booked[id].memoryBytes + booking.memoryBytes
    booked[id].containers[booking.container] = text
    for _, uuid in ipairs(booking.gpus) do booked[id].gpus[uuid] = booking.key end
    if not booking.waits then per_function[booking.key] = (per_function[booking.key] or 0) + 1 end
  end
  nodes[id] = cjson.decode(redis.call('HGET', KEYS[1], id))
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

local function mib(bytes) return math.floor(bytes / 1048576) .. ' MiB' end

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
        local fits = request.gpu.model == 'any' or string.find(string.lower(gpu.model), string.lower(request.gpu.model), 1, true)
        if fits and #gpus < request.gpu.count then
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
    local text = cjson.encode({container = request.container, key = request.key, cpuMillis = request.cpuMillis,
      memoryBytes = request.memoryBytes, gpus = gpus})
    answers[#answers + 1] = text
    made[#made + 1] = {ARGV[1] .. request.node, request.container, text}
  end
end
for _, booking in ipairs(made) do redis.call('HSET', booking[1], booking[2], booking[3]) end
return {1, '[' .. table.concat(answers, ',') .. ']'}
