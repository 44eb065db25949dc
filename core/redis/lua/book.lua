-- Books capacity for containers on nodes: all or none.
-- KEYS: 1 nodes (hash: id -> facts)
-- ARGV: 1 prefix of booking hashes (one per node: container -> booking), 2 prefix of the nodes' signs of life, 3 JSON list of requests
-- Returns: {1, JSON list of bookings} or {0, what is missing, in words}
local requests = cjson.decode(ARGV[3])
local nodes, booked, per_function = {}, {}, {}
for _, id in ipairs(redis.call('HKEYS', KEYS[1])) do
  booked[id] = {cpuMillis = 0, memoryBytes = 0, gpus = {}, containers = {}}
  -- What a node that is gone had booked holds nobody back.
  local all = redis.call('EXISTS', ARGV[2] .. id) == 1 and redis.call('HVALS', ARGV[1] .. id) or {}
  for _, text in ipairs(all) do
    local booking = cjson.decode(text)
    booked[id].cpuMillis = booked[id].cpuMillis + booking.cpuMillis
    booked[id].memoryBytes = booked[id].memoryBytes + booking.memoryBytes
    booked[id].containers[booking.container] = text
    for _, uuid in ipairs(booking.gpus) do booked[id].gpus[uuid] = booking.key end
    per_function[booking.key] = (per_function[booking.key] or 0) + 1
  end
  nodes[id] = cjson.decode(redis.call('HGET', KEYS[1], id))
end

local function mib(bytes) return math.floor(bytes / 1048576) .. ' MiB' end

local made, answers = {}, {}
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
    local cpu_left, memory_left = node.cpuMillis - use.cpuMillis, node.memoryBytes - use.memoryBytes
    if request.cpuMillis > cpu_left then
      return {0, 'no cpu: ' .. request.cpuMillis / 1000 .. ' asked, ' .. cpu_left / 1000 .. ' free on ' .. request.node}
    end
    if request.memoryBytes > memory_left then
      return {0, 'no memory: ' .. mib(request.memoryBytes) .. ' asked, ' .. mib(memory_left) .. ' free on ' .. request.node}
    end
    local gpus = {}
    if type(request.gpu) == 'table' then
      local holder
      for _, gpu in ipairs(node.gpus) do
        local fits = request.gpu.model == 'any' or string.find(string.lower(gpu.model), string.lower(request.gpu.model), 1, true)
        if fits and #gpus < request.gpu.count then
          if use.gpus[gpu.uuid] then holder = use.gpus[gpu.uuid] else gpus[#gpus + 1] = gpu.uuid end
        end
      end
      if #gpus < request.gpu.count then
        return {0, 'no ' .. request.gpu.model .. ' free: ' .. request.gpu.count .. ' asked, ' .. #gpus .. ' free on '
          .. request.node .. (holder and (', held by ' .. holder) or '')}
      end
    end
    for _, uuid in ipairs(gpus) do use.gpus[uuid] = request.key end
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
