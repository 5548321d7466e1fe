"""One file per task; `TASKS` maps names to builders."""
