-- Shared by every script: the keys of one reader's cached home timeline, and the rules by which an
-- activity takes its place in it. Shapes and units: the docstring of timeline_cache.py.

local CAP = %d -- entries of a cached timeline; filled in where the scripts are loaded
local EPOCH_TTL_S = 3600
local PENDING_TTL_MS = 30000

local function keys_of(timeline)
  return {
    zset = timeline,
    state = timeline .. ':state',
    followees = timeline .. ':followees',
    epoch = timeline .. ':epoch',
    building = timeline .. ':building',
    pending = timeline .. ':pending',
  }
end

-- Forget the timeline. The new epoch, never used before, makes a rebuild under way fail to install.
local function drop(keys, nonce)
  redis.call('SET', keys.epoch, nonce, 'EX', EPOCH_TTL_S)
  redis.call('DEL', keys.zset, keys.state, keys.followees)
end

-- Ids are decimal strings: a double cannot hold them.
local function id_less(a, b)
  if #a ~= #b then
    return #a < #b
  end
  return a < b
end

local function set_flag(keys, id, flag, changed_us)
  local field = flag .. id
  local known = redis.call('HGET', keys.state, field)
  if not known or math.abs(tonumber(known)) < math.abs(tonumber(changed_us)) then
    redis.call('HSET', keys.state, field, changed_us)
  end
end

local function withdraw(keys, id, at_ms, actor, nonce)
  local mark = redis.call('HGET', keys.state, 't' .. id)
  if mark and string.sub(mark, 1, #actor + 1) == actor .. ':' then
    local score = redis.call('ZSCORE', keys.zset, id)
    if score and tonumber(score) == tonumber(at_ms) then
      -- Whether a later retweet now brings the tweet in, only the store knows.
      drop(keys, nonce)
    end
  end
end

local function place(keys, uid, complete, nonempty, op, nonce)
  local id, at_ms, created_ms = op[2], op[3], op[4]
  local actor, username, author = op[5], op[6], op[7]
  local retweet = actor ~= author
  if retweet and (actor == uid or author == uid) then
    return
  end
  local follows = redis.call('SMISMEMBER', keys.followees, '0', actor, author)
  if follows[1] == 0 then
    drop(keys, nonce) -- evicted: '0' is always a member
    return
  end
  if author ~= uid and follows[2] == 0 then
    return -- unfollowed meanwhile
  end
  if retweet and follows[3] == 1 then
    return -- stands at its own time
  end

  local at = tonumber(at_ms)
  local below = false
  local floor
  if complete == '0' then
    local lowest = redis.call('ZRANGE', keys.zset, 0, 0, 'WITHSCORES')
    if #lowest == 0 then
      drop(keys, nonce)
      return
    end
    floor = tonumber(lowest[2])
    below = at < floor or (at == floor and id_less(id, lowest[1]))
  end

  local score = redis.call('ZSCORE', keys.zset, id)
  if retweet then
    if score then
      local mark = redis.call('HGET', keys.state, 't' .. id)
      if not mark then
        return
      end
      local current = tonumber(score)
      local standing = string.match(mark, '^(%d+):')
      if current < at or (current == at and not id_less(actor, standing)) then
        return -- the earliest retweet keeps its place
      end
      if below then
        drop(keys, nonce)
        return
      end
    elseif below then
      return -- pages past the cache come from the store
    elseif floor and tonumber(created_ms) < floor then
      -- An earlier retweet may stand below the floor, where only the store sees it.
      drop(keys, nonce)
      return
    end
    redis.call('HSET', keys.state, 't' .. id, actor .. ':' .. username, 'u' .. id, '1')
  else
    if below then
      return
    end
    if score then
      redis.call('HDEL', keys.state, 't' .. id)
    end
  end
  redis.call('ZADD', keys.zset, at_ms, id)

  local size = redis.call('ZCARD', keys.zset)
  if size == 1 and not score then
    if nonempty == '1' then
      drop(keys, nonce) -- the sorted set was evicted
      return
    end
    redis.call('HSET', keys.state, 'nonempty', '1')
    redis.call('PEXPIREAT', keys.zset, redis.call('PEXPIRETIME', keys.state))
  elseif size > CAP then
    local removed = redis.call('ZPOPMIN', keys.zset, size - CAP)
    for i = 1, #removed, 2 do
      redis.call('HDEL', keys.state, 't' .. removed[i], 'u' .. removed[i])
    end
    if complete == '1' then
      redis.call('HSET', keys.state, 'complete', '0')
    end
  end
end

-- Apply one operation to one reader, if their timeline is cached; keep it for the rebuild if one is
-- under way; else do nothing. Returns whether the timeline was there.
local function apply(keys, uid, op, nonce)
  local head = redis.call('HMGET', keys.state, '_', 'complete', 'nonempty')
  if not head[1] then
    if redis.call('EXISTS', keys.building) == 1 then
      redis.call('RPUSH', keys.pending, cjson.encode(op))
      redis.call('PEXPIRE', keys.pending, PENDING_TTL_MS)
    end
    return 0
  end
  if op[1] == 'activity' then
    place(keys, uid, head[2], head[3], op, nonce)
  elseif op[1] == 'withdraw' then
    withdraw(keys, op[2], op[3], op[4], nonce)
  elseif op[1] == 'flag' then
    set_flag(keys, op[2], op[3], op[4])
  end
  return 1
end
