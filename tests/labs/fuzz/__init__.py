"""Coverage-guided fuzzing of everything that reads what strangers, workers or operators write."""
