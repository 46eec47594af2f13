-- Shared by other scripts (`-- include presentable`): is a text a job that Ruby and Node can read?
-- It may say no to a good one, never yes to a bad one: cjson alone takes NaN, hex and broken UTF-8.
--
-- KEYS     none
-- ARGV     none
-- Returns  (the function) the decoded job, to be looked at and never encoded again, or nil
local function presentable(text)
  if #text > 65536 or text:byte(1) ~= 123 then return nil end
  if text:find('[^ -~]') then
    if text:find('[%z\1-\31\127]') then return nil end
    local rest = text:gsub('[\194-\223][\128-\191]', ' ')
      :gsub('\224[\160-\191][\128-\191]', ' '):gsub('[\225-\236\238\239][\128-\191][\128-\191]', ' ')
      :gsub('\237[\128-\159][\128-\191]', ' '):gsub('\240[\144-\191][\128-\191][\128-\191]', ' ')
      :gsub('[\241-\243][\128-\191][\128-\191][\128-\191]', ' ')
      :gsub('\244[\128-\143][\128-\191][\128-\191]', ' ')
    if rest:find('[\128-\255]') then return nil end
  end
  local bones = text
  if text:find('\\', 1, true) then
    if text:find('\\u[dD]') then return nil end
    bones = text:gsub('\\.', '')
  end
  bones = bones:gsub('%b""', '"')
  -- A look by a pattern costs as much as a Redis command, one for a plain character next to nothing.
  if bones:find('[^%d:,"{}%[%]]') and (bones:find('[^":,%d{}%[%].truefalsn%-+E ]')
      or bones:find('nan', 1, true) or bones:find('[eE]%+?%d%d%d')
      or bones:find('.', 1, true) and (bones:find('%.%D') or bones:find('%D%.'))
      or bones:find('+', 1, true) and bones:find('[:,%[ ]%+')) then
    return nil
  end
  if bones:find('0', 1, true) and bones:find('[%-:,%[ ]0%d') then return nil end
  if #bones > 26 then
    if bones:find('%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') then return nil end
    local _, levels = bones:gsub('[%[{]', '')
    if levels > 90 then return nil end
  end
  local fine, job = pcall(cjson.decode, text)
  if fine and type(job) == 'table' and type(job['class']) == 'string' then return job end
  return nil
end
