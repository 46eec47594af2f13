-- Shared by other scripts (`-- include presentable`): is a text a job that Ruby and Node can read?
-- It may say no to a good one, never yes to a bad one: cjson alone takes NaN, hex and broken UTF-8.
--
-- KEYS     none
-- ARGV     none
-- Returns  (the function) the decoded job, to be looked at and never encoded again, or nil
local function presentable(text)
  if #text > 65536 or text:byte(1) ~= 123 or text:find('[%z\1-\31\127]')
    or text:find('\\u[dD]') or text:find('[eE]%+?%d%d%d') then
    return nil
  end
  if text:find('[\128-\255]') then
    local rest = text:gsub('[\194-\223][\128-\191]', ' ')
      :gsub('\224[\160-\191][\128-\191]', ' '):gsub('[\225-\236\238\239][\128-\191][\128-\191]', ' ')
      :gsub('\237[\128-\159][\128-\191]', ' '):gsub('\240[\144-\191][\128-\191][\128-\191]', ' ')
      :gsub('[\241-\243][\128-\191][\128-\191][\128-\191]', ' ')
      :gsub('\244[\128-\143][\128-\191][\128-\191]', ' ')
    if rest:find('[\128-\255]') then return nil end
  end
  local bones = text
  if bones:find('\\', 1, true) then bones = bones:gsub('\\.', '') end
  bones = bones:gsub('"[^"]*"', '"')
  if bones:find('[^%[%]{}:,"%d%.%-+eEtrufalsn ]') or bones:find('nan', 1, true)
    or bones:find('[%-:,%[ ]0%d') or bones:find('[:,%[ ]%+') or bones:find('%.%D')
    or bones:find('%D%.') or bones:find('%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d%d') then
    return nil
  end
  local _, levels = bones:gsub('[%[{]', '')
  if levels > 90 then return nil end
  local fine, job = pcall(cjson.decode, text)
  if fine and type(job) == 'table' and type(job['class']) == 'string' then return job end
  return nil
end
