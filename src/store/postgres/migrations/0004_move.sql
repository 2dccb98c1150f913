-- A move of the store into another one, or of another one into this; and what changed since it began, as triggers note
-- it that stand only while it is under way.
CREATE TABLE moving (
    id bigint PRIMARY KEY CHECK (id = 1),
    direction text NOT NULL CHECK (direction IN ('out', 'in')),
    token bigint NOT NULL,
    other text NOT NULL,
    begun_at bigint NOT NULL,
    stage text NOT NULL CHECK (stage IN ('copying', 'moved')),
    -- How many tables are copied, and the key of the last row of the next one.
    tables bigint NOT NULL DEFAULT 0,
    after text,
    moved_at bigint,
    CONSTRAINT moving_moved CHECK ((stage = 'moved') = (moved_at IS NOT NULL))
);
CREATE TABLE moving_change (
    number bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    place text NOT NULL,
    a bigint NOT NULL,
    b bigint,
    c text
);
