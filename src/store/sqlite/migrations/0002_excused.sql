-- How many attempts of a delivery met refused credentials: no fault of the delivery, so they count against no limit.
ALTER TABLE delivery ADD COLUMN excused INTEGER NOT NULL DEFAULT 0;
