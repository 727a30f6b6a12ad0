"""What ``craft protected:make`` writes: a guarded controller, its route and its test."""
