-- Takes back, in each bucket of KEYS, so many microseconds of what was booked.
for i, key in ipairs(KEYS) do
  local booked = tonumber(redis.call('GET', key) or now) - tonumber(ARGV[i])
  if booked > now then
    redis.call('SET', key, string.format('%.0f', booked), 'PX', math.ceil((booked - now) / 1000))
  else
    redis.call('DEL', key)
  end
end
return {1}
