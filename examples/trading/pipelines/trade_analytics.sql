SELECT symbol,
       count(*) AS trade_count,
       round(avg(price::decimal(10,2)), 2) AS avg_price,
       min(price::decimal(10,2)) AS min_price,
       max(price::decimal(10,2)) AS max_price,
       sum(qty) AS total_volume,
       count(*) FILTER (WHERE side = 'BUY') AS buy_count,
       count(*) FILTER (WHERE side = 'SELL') AS sell_count,
       min(ts_event) AS first_trade_time,
       max(ts_event) AS last_trade_time
FROM trades
GROUP BY symbol
ORDER BY symbol
