-- Shared by other scripts (`-- include presentable`): is a text a job that Ruby and Node can read? Yes if
-- read_strict (base/json_rules.py) accepts it and JavaScript can represent its integers. A text of more than
-- LOOKED_AT bytes is not checked, nor are numbers from 1e100 among more than 8 KiB of numbers, because Redis
-- is blocked meanwhile. cjson finds nearly all faults, in C. What it accepts although it is not JSON (broken
-- UTF-8, control characters, a NUL and what follows it, `1.`, `-.5`, 1e999) is checked before and after it.
--
-- KEYS     none
-- ARGV     none
-- Returns  (the function) the decoded job, for inspection, never to be encoded again, or nil
local LOOKED_AT = 65536
local strict

local function decode(text)
  if not strict then
    strict = cjson.new() -- its own instance: settings of `cjson` affect every script
    strict.decode_max_depth(98)
    strict.decode_invalid_numbers(false)
  end
  return pcall(strict.decode, text)
end

-- Characters beyond ASCII, the frequent ones first, excluding surrogates, become blanks.
local function is_utf8(text)
  local characters = { '[\194-\223][\128-\191]', '[\225-\236\238\239][\128-\191][\128-\191]',
    '\240[\144-\191][\128-\191][\128-\191]', '\224[\160-\191][\128-\191]', '\237[\128-\159][\128-\191]',
    '[\241-\243][\128-\191][\128-\191][\128-\191]', '\244[\128-\143][\128-\191][\128-\191]' }
  local rest = text:gsub('[ -~]+', ' ')
  for _, character in ipairs(characters) do
    rest = rest:gsub(character, ' ')
    if rest:find('^[^\128-\255]*$') then return true end
  end
  return false
end

-- Line breaks and tabs are allowed between values, control characters in texts and NULs nowhere.
local function has_forbidden_control(text)
  if text:find('^%C*$') then return false end
  return text:find('\0', 1, true) or text:gsub('\\.', ''):gsub('"[^"\1-\31]*"', ''):find('"', 1, true)
end

-- Whether a number among the digits of a text may exceed a double: 1e100 and more, or 200 digits.
local function may_be_huge(text)
  if not text:find('%d%d%d') then return false end -- the usual case, and the cheapest check
  if text:find('e%+?%d%d%d') or text:find('E', 1, true) and text:find('E%+?%d%d%d') then return true end
  local hundred = #text >= 199 and '^' .. ('%d'):rep(100)
  for at = 100, #text - 99, 100 do -- 200 digits in a row cover a whole hundred
    if text:find(hundred, at) then return true end
  end
  return false
end

-- Whether a text that cjson accepted has `1.` or `-.5`, or a number beyond a double. The quick checks come
-- first; they take digits within texts for numbers.
local function has_odd_number(text, job)
  local dot = text:find('.', 1, true) and (text:find('[.]%D') or text:find('-.', 1, true))
  if not dot and not may_be_huge(text) then return false end
  local bones = text:gsub('\\.', ''):gsub('%b""', '"')
  if dot and (bones:find('[.]%D') or bones:find('-.', 1, true)) then return true end
  -- every JSON writer rejects infinity too
  return may_be_huge(bones) and (#bones > 8192 or not pcall(strict.encode, job))
end

local function presentable(text)
  if #text > LOOKED_AT then return nil end
  if not text:find('^[ -~]*$') and (has_forbidden_control(text) or not is_utf8(text)) then return nil end
  local fine, job = decode(text)
  if not fine or type(job) ~= 'table' or type(job['class']) ~= 'string' then return nil end
  if has_odd_number(text, job) then return nil end
  return job
end
