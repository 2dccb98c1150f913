-- The field whose value is marked: none where it was marked before that was noted.
ALTER TABLE stale_mark ADD COLUMN field text;
