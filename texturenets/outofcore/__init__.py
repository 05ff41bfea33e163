"""Pictures that do not fit in memory, exactly: a network stage by stage, its maps on disk in between."""
