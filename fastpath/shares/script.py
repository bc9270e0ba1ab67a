"""The other side of a lease, in Redis: one hash for each limit, in which every node says what it holds and wants.

Owns the arithmetic that decides who may hold how much; it runs inside Redis, whole or not at all. While there is
enough, each gets what it wants and an equal part of the rest. Else, of a rate or of places, those who want least get
it and the others equal parts; of a budget one gets all it wants, and ROUND later another: equal parts of its end would
be too small for any request. A call is idempotent: it says what its node holds rather than what it takes, and a number
(life, sequence) makes a late or doubled one void. All amounts are whole numbers below 2**53, because Lua has no others
that are exact.

Who knows of 0 nodes leaves: it is given nothing more, and the others are not to wait for it.

Of a hash `<prefix>:part:<id>`:

    b         when it was made, ms. Nobody is granted more until all who know it have said what they hold: SETTLE_LEAST
              long, and then until so many nodes said it as were known, at most SETTLE_MOST
    m         while that lasts: the most that anyone remembers to have been held in all, and by how many nodes
    o         of a budget, held by who did not say so, and not given out again: nodes that are gone or forgot it
    f         debt, and when: of the free part of a rate (ns of its bucket)
    n:NODE    life, sequence, when (ms), held, wanted, used, after how many ms of silence it is forgotten, and since
              when it wants more than it holds (0: it does not)

A Redis that took over from another may have lost its last writes, and then knows less than the nodes do. So of a
budget a node is given more only when all others have said what they hold since it asked, or PATIENCE later.

What is there and makes no sense is taken out, as if it had never been.
"""

from typing import Final

SETTLE_LEAST: Final = 600
SETTLE_MOST: Final = 3000
"""Milliseconds."""
ROUND: Final = 2_000
"""Milliseconds after which another one comes first."""
PATIENCE: Final = 1_000
"""Milliseconds."""
SILENT: Final = 10_000
"""Milliseconds after which a node that cannot be asked to give back is not counted on."""

LEASE: Final = f"""
local MOST = 9007199254740991
local function int(text)
  local n = tonumber(text)
  if n and n >= 0 and n <= MOST then return math.floor(n) end
end
local row, me = KEYS[1], 'n:' .. ARGV[1]
local life, seq, total, held, want, used, debt, lapse, hard, remembered, known, keep
  = int(ARGV[2]), int(ARGV[3]), int(ARGV[4]), int(ARGV[5]), int(ARGV[6]), int(ARGV[7]), int(ARGV[8]), int(ARGV[9]),
    int(ARGV[10]), int(ARGV[11]), int(ARGV[12]), int(ARGV[13])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local kind = redis.call('TYPE', row).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', row) end

local born, most, orphan, free_debt, free_at, mine = nil, 0, 0, 0, now, nil
local leaves, holders = known == 0, known
local sum, others_used, others, wants, pool, oldest = 0, 0, 0, {{}}, total, MOST
local all = redis.call('HGETALL', row)
for i = 1, #all, 2 do
  local name, text = all[i], all[i + 1]
  if name == 'b' then born = int(text)
  elseif name == 'm' then
    local a, b = string.match(text, '^(%d+) (%d+)$')
    most, holders = int(a) or 0, math.max(known, int(b) or 0)
  elseif name == 'o' then orphan = int(text) or 0
  elseif name == 'f' then
    local a, b = string.match(text, '^(%d+) (%d+)$')
    free_debt, free_at = int(a) or 0, int(b) or now
  else
    local at = {{string.match(text, '^(%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+) (%d+)$')}}
    local sound = string.sub(name, 1, 2) == 'n:' and #at == 8
    for k = 1, #at do at[k] = int(at[k]); sound = sound and at[k] end
    local age = sound and math.max(0, now - at[3]) or 0
    if not sound or (name ~= me and age > at[7]) then redis.call('HDEL', row, name)
    elseif name == me then mine = at
    else
      others = others + 1
      sum = sum + at[4]
      others_used = others_used + at[6]
      if age <= {SILENT} then oldest = math.min(oldest, at[3]) end
      if age > {SILENT} then pool = pool - at[4]
      else
        pool = pool - at[6]
        wants[#wants + 1] = {{math.max(0, at[5] - at[6]), name}}
      end
    end
  end
end
if mine and (life < mine[1] or (life == mine[1] and seq <= mine[2])) then return {{-1}} end

local had = mine and mine[4] or 0
if hard == 1 and mine and life > mine[1] and held < had then orphan = orphan + had - held end
if not born or born > now then born = now end
local settled = now - born >= {SETTLE_MOST} or (now - born >= {SETTLE_LEAST} and others + 1 >= holders)
if not settled then most = math.max(most, remembered)
else
  if hard == 1 and others + 1 < holders then orphan = math.max(orphan, most - sum - held) end
  most, holders = 0, 0
end

free_debt = math.max(0, free_debt - math.max(0, now - free_at) * 1000000)
if held < had then
  local before, back = math.max(0, total - sum - had), had - held
  free_debt = math.floor((before * free_debt + back * debt) / (before + back))
end

pool = math.max(0, pool - used - orphan)
local own = math.max(0, want - used)
wants[#wants + 1] = {{own, me}}
table.sort(wants, function(a, b) return a[2] < b[2] end)
local asked, target = 0, used
for i = 1, #wants do
  asked = asked + wants[i][1]
  wants[i][3] = (i + math.floor(now / {ROUND})) % #wants
end
if asked <= pool then target = used + own + math.floor((pool - asked) / #wants)
else
  table.sort(wants, function(a, b)
    if a[1] == b[1] or hard == 1 then return a[3] < b[3] end
    return a[1] < b[1]
  end)
  for i = 1, #wants do
    local part = math.min(wants[i][1], pool)
    if hard ~= 1 then part = math.min(part, math.ceil(pool / (#wants - i + 1))) end
    pool = pool - part
    if wants[i][2] == me then
      target = used + part
      break
    end
  end
end
local free = total - sum - orphan - held
local after = held
local asked_at = 0
if target > held then asked_at = mine and mine[8] > 0 and math.min(mine[8], now) or now end
if hard == 1 and oldest < asked_at and now - asked_at < {PATIENCE} then settled = false end
if settled and not leaves and free > 0 and target > held then after = math.min(target, held + free) end

local function text(...)
  local words = {{...}}
  for i = 1, #words do words[i] = string.format('%.0f', words[i]) end
  return table.concat(words, ' ')
end
redis.call('HSET', row, 'b', text(born), 'm', text(most, holders), 'o', text(orphan), 'f', text(free_debt, now),
  me, text(life, seq, leaves and now - {SILENT} - 1 or now, after, want, used, lapse, after < target and asked_at or 0))
redis.call('PEXPIRE', row, keep)
return {{after, target, sum + after + orphan, others_used + orphan, free_debt, others + 1, settled and 1 or 0}}
"""

HELLO: Final = """
local row, me, keep = KEYS[1], ARGV[1], tonumber(ARGV[2])
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local kind = redis.call('TYPE', row).ok
if kind ~= 'hash' and kind ~= 'none' then redis.call('DEL', row) end
local alive = 1
local all = redis.call('HGETALL', row)
for i = 1, #all, 2 do
  local at = tonumber(all[i + 1])
  if not at or at > now + 3600000 or now - at > keep then redis.call('HDEL', row, all[i])
  elseif all[i] ~= me then alive = alive + 1 end
end
redis.call('HSET', row, me, string.format('%.0f', now))
redis.call('PEXPIRE', row, 2592000000)
return {alive}
"""
