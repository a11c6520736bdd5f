"""Names and files to arrays: every data set as flat train and test examples."""
