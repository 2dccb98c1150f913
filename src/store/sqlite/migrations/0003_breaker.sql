-- A pause may end by a moment; a circuit breaker that is open stays so through a restart.
ALTER TABLE system ADD COLUMN paused_until INTEGER;
ALTER TABLE system ADD COLUMN broken_since INTEGER;
ALTER TABLE system ADD COLUMN broken_reason TEXT;
ALTER TABLE system ADD COLUMN broken_probe_at INTEGER;
ALTER TABLE system ADD COLUMN broken_trips INTEGER;
