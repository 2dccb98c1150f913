-- When a blocked delivery was due: a call that asked for a pause is not made sooner because another of its lane goes ahead.
ALTER TABLE delivery ADD COLUMN not_before INTEGER CHECK (not_before IS NULL OR state = 'blocked');
CREATE INDEX delivery_not_before ON delivery (not_before) WHERE not_before IS NOT NULL;
