"""`make chaos`: what a row of faults does to many generations, measured from outside."""
