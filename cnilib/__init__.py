"""What every CNI plugin of the suite shares; imports nothing from ``plugins``."""
