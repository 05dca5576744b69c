"""What the experiments measure: functions of frozen settings that give named arrays, free of claims and drawings."""
