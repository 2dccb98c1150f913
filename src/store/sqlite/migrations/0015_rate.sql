-- How far a system's rate is spent, in microseconds of the wall clock: when the next call is on time. A restart gives none away.
ALTER TABLE system ADD COLUMN next_call_us INTEGER;
