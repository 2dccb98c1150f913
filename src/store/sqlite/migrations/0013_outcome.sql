-- A list of more than two values in a CHECK is put into a table of its own at every row that is written; a chain of
-- comparisons is not. The rule stays as it was, and so does every row: only its wording changes.
PRAGMA writable_schema = ON;
UPDATE sqlite_schema
SET sql = replace(
    sql,
    'CHECK (outcome IN (''delivered'', ''refused'', ''retry'', ''unknown''))',
    'CHECK (outcome = ''delivered'' OR outcome = ''refused'' OR outcome = ''retry'' OR outcome = ''unknown'')'
)
WHERE type = 'table' AND name = 'attempt';
PRAGMA writable_schema = RESET;
