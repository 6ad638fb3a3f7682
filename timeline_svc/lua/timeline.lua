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

-- The marks of a tweet, all of them texts: microseconds of the reader's like and of their retweet ('0': none that is
-- known of; negative: of its undoing), '1' while the store is still to be asked for these two, and
-- "<user id>:<username>" of whose retweet brought it in ('': nobody's).
local function marks_of(state, id)
  local known = redis.call('HGET', state, id)
  if not known then
    return '0', '0', '0', ''
  end
  return string.match(known, '^(%S+) (%S+) (%S+) (.*)$')
end

local function set_marks(state, id, liked, retweeted, unknown, bringer)
  if liked == '0' and retweeted == '0' and unknown == '0' and bringer == '' then
    redis.call('HDEL', state, id)
  else
    redis.call('HSET', state, id, liked .. ' ' .. retweeted .. ' ' .. unknown .. ' ' .. bringer)
  end
end

-- Of two changes of one flag, in microseconds, the later.
local function later(known, changed_us)
  if math.abs(tonumber(known)) < math.abs(tonumber(changed_us)) then
    return changed_us
  end
  return known
end

local function set_flag(state, id, flag, changed_us)
  local liked, retweeted, unknown, bringer = marks_of(state, id)
  if flag == 'l' then
    liked = later(liked, changed_us)
  else
    retweeted = later(retweeted, changed_us)
  end
  set_marks(state, id, liked, retweeted, unknown, bringer)
end

-- A tweet left the timeline; the reader's own flags stay.
local function left(state, id)
  local liked, retweeted, _, bringer = marks_of(state, id)
  if bringer ~= '' then
    set_marks(state, id, liked, retweeted, '0', '')
  end
end

local function withdraw(keys, id, at_ms, actor, nonce)
  local _, _, _, bringer = marks_of(keys.state, id)
  if string.sub(bringer, 1, #actor + 1) == actor .. ':' then
    local score = redis.call('ZSCORE', keys.zset, id)
    if score and tonumber(score) == tonumber(at_ms) then
      -- Whether a later retweet now brings the tweet in, only the store knows.
      drop(keys, nonce)
    end
  end
end

-- Keep the newest CAP entries after one was added.
local function trim(keys, head, size)
  local removed = redis.call('ZPOPMIN', keys.zset, size - CAP)
  for i = 1, #removed, 2 do
    left(keys.state, removed[i])
  end
  if head.complete == '1' then
    redis.call('HSET', keys.state, 'complete', '0')
  end
end

-- The first entry was added: either the feed was empty, or its sorted set was evicted.
local function added_first(keys, head, nonce)
  if head.nonempty == '1' then
    drop(keys, nonce)
    return
  end
  redis.call('HSET', keys.state, 'nonempty', '1')
  redis.call('PEXPIREAT', keys.zset, redis.call('PEXPIRETIME', keys.state))
end

local function place(keys, uid, head, op, nonce)
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
  if head.complete == '0' then
    local lowest = redis.call('ZRANGE', keys.zset, 0, 0, 'WITHSCORES')
    if #lowest == 0 then
      drop(keys, nonce)
      return
    end
    floor = tonumber(lowest[2])
    below = at < floor or (at == floor and id_less(id, lowest[1]))
  end

  local score = redis.call('ZSCORE', keys.zset, id)
  local liked, retweeted, unknown, bringer = marks_of(keys.state, id)
  if retweet then
    if score then
      if bringer == '' then
        return
      end
      local current = tonumber(score)
      local standing = string.match(bringer, '^(%d+):')
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
    if id_less(id, head.floor) then
      unknown = '1'
    end
    set_marks(keys.state, id, liked, retweeted, unknown, actor .. ':' .. username)
    redis.call('HSET', keys.state, 'retweets', '1')
  else
    if below then
      return
    end
    if bringer ~= '' then
      set_marks(keys.state, id, liked, retweeted, unknown, '')
    end
  end
  redis.call('ZADD', keys.zset, at_ms, id)

  local size = redis.call('ZCARD', keys.zset)
  if size == 1 and not score then
    added_first(keys, head, nonce)
  elseif size > CAP then
    trim(keys, head, size)
  end
end

-- A tweet of its author's, which is what almost all pushes are, by as few commands as there can be: it is
-- put in first, and looked at after. Returns false, with nothing done, where the tweet stands already.
local function place_tweet(timeline, uid, head, op, nonce)
  local id, author = op[2], op[7]
  local followees = timeline .. ':followees'
  if author == uid or redis.call('SISMEMBER', followees, author) == 0 then
    if redis.call('SISMEMBER', followees, '0') == 0 then
      drop(keys_of(timeline), nonce) -- evicted: '0' is always a member
      return true
    elseif author ~= uid then
      return true -- unfollowed meanwhile
    end
  end
  if redis.call('ZADD', timeline, 'NX', op[3], id) == 0 then
    return false
  end
  if head.complete == '0' and not head.retweets then
    -- Full, and no marks to remove: the oldest goes, be it this one.
    if redis.call('ZREMRANGEBYRANK', timeline, 0, -CAP - 1) > 0 then
      return true
    end
  end
  local keys = keys_of(timeline)
  local size = redis.call('ZCARD', timeline)
  if size > CAP then
    trim(keys, head, size)
  elseif head.complete == '0' then
    if size == 1 then
      drop(keys, nonce) -- there were older ones
    elseif redis.call('ZRANGE', timeline, 0, 0)[1] == id then
      redis.call('ZREM', timeline, id) -- pages past the cache come from the store
    end
  elseif size == 1 then
    added_first(keys, head, nonce)
  end
  return true
end

-- Apply one operation to one reader, if their timeline is cached; keep it for the rebuild if one is
-- under way; else do nothing. Returns whether the timeline was there.
local function apply(timeline, uid, op, nonce)
  local known = redis.call('HMGET', timeline .. ':state', '_', 'complete', 'nonempty', 'retweets', 'floor')
  if not known[1] then
    local keys = keys_of(timeline)
    if redis.call('EXISTS', keys.building) == 1 then
      redis.call('RPUSH', keys.pending, cjson.encode(op))
      redis.call('PEXPIRE', keys.pending, PENDING_TTL_MS)
    end
    return 0
  end
  if op[1] == 'activity' then
    local head = { complete = known[2], nonempty = known[3], retweets = known[4], floor = known[5] }
    if op[5] ~= op[7] or not place_tweet(timeline, uid, head, op, nonce) then
      place(keys_of(timeline), uid, head, op, nonce)
    end
  elseif op[1] == 'withdraw' then
    withdraw(keys_of(timeline), op[2], op[3], op[4], nonce)
  elseif op[1] == 'flag' then
    set_flag(timeline .. ':state', op[2], op[3], op[4])
  end
  return 1
end
