-- Counts one request in each bucket of KEYS, all or none of them. ARGV holds three numbers for each: its period in
-- microseconds, its limit, and the level that the instance knows of: Redis may have been restarted meanwhile.
-- Answers whether it passes (1) or not (0), then the level of each bucket.
local levels, passes = {}, 1
for i, key in ipairs(KEYS) do
  local period, limit, known = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local booked = math.max(tonumber(redis.call('GET', key)) or 0, now + known)
  -- A clock that was set back, or a limit that was wider, must not hold anybody up for longer than the limit does.
  levels[i] = math.min(math.max(booked - now, 0), period * limit)
  if levels[i] > period * (limit - 1) then passes = 0 end
end
if passes == 1 then
  for i, key in ipairs(KEYS) do
    levels[i] = levels[i] + tonumber(ARGV[3 * i - 2])
    -- Only here is anything written: who is refused pushes no end further away.
    redis.call('SET', key, string.format('%.0f', now + levels[i]), 'PX', math.ceil(levels[i] / 1000))
  end
end
table.insert(levels, 1, passes)
return levels
