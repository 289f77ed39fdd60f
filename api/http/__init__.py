"""Tools of the routes: reading requests, writing answers, problem details, paging, streams of logs."""
