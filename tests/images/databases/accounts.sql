CREATE DATABASE shop;
CREATE USER app@'%' IDENTIFIED BY 'app-password';
GRANT ALL ON shop.* TO app@'%';
