"""A small shop that sends its own profile, for pictures of the page.

pip install pyroscope-io fastapi uvicorn jinja2
python shop.py http://127.0.0.1:4040

Searching is slower than it has to be: every product's text is taken apart again for every query. That is
what the picture shows.
"""

import hashlib
import http.client
import json
import math
import random
import re
import sqlite3
import sys
import threading
import time

import pyroscope
import uvicorn
from fastapi import FastAPI
from jinja2 import Template

WORDS = "lamp oil wick glass brass flame light smoke copper silver table chair garden window mirror carpet".split()
PAGE = Template(
    "<ul>{% for p in products %}<li>{{ p.name|title }} {{ '%.2f' % p.price }} {{ p.text|truncate(80) }}</li>{% endfor %}</ul>"
)

app = FastAPI()
database = sqlite3.connect(":memory:", check_same_thread=False)


def fill_database():
    choose = random.Random(7)
    database.execute("create table product (id integer primary key, name text, price real, text text)")
    for number in range(4000):
        name, text = " ".join(choose.sample(WORDS, 3)), " ".join(choose.choices(WORDS, k=60))
        database.execute("insert into product values (?, ?, ?, ?)", (number, name, choose.random() * 100, text))


def load_products(count):
    rows = database.execute("select id, name, price, text from product order by price limit ?", (count,))
    return [to_product(row) for row in rows.fetchall()]


def to_product(row):
    return dict(zip(("id", "name", "price", "text"), row))


def tokens(text):
    return re.findall(r"[a-z]+", text.lower())


def score(query, text):
    words = tokens(text)
    return sum(words.count(word) for word in query)


def rank(query, products):
    return sorted(((score(query, product["text"]), product["id"]) for product in products), reverse=True)[:20]


def similarity(one, other):
    return len(set(tokens(one)) & set(tokens(other))) / (len(one) + len(other))


def sign(order):
    digest = json.dumps(order).encode()
    for _ in range(3000):
        digest = hashlib.sha256(digest).digest()
    return digest.hex()


@app.get("/search")
def search(q: str):
    return rank(q.split(), load_products(800))


@app.get("/catalog")
def catalog():
    return PAGE.render(products=load_products(400))


@app.get("/recommend")
def recommend(product: int):
    products = load_products(300)
    text = products[product]["text"]
    return max(products, key=lambda other: similarity(text, other["text"]))["id"]


@app.post("/checkout")
def checkout():
    order = {str(number): number % 3 for number in range(200)}
    total = sum(product["price"] * order.get(str(product["id"]), 0) for product in load_products(200))
    return {"signature": sign(order), "total": round(total, 2)}


def visit(port):
    """Customers, more and fewer of them by turns."""
    requests = [("GET", "/search?q=brass+lamp"), ("GET", "/catalog"), ("GET", "/recommend?product=9"), ("POST", "/checkout")]
    began = time.monotonic()
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request(*random.choices(requests, weights=[7, 3, 3, 2])[0])
        connection.getresponse().read()
        time.sleep(0.03 + 0.03 * math.sin((time.monotonic() - began) / 40))


def main():
    pyroscope.configure(application_name="shop", server_address=sys.argv[1], tags={"region": "eu-west", "version": "2.4"})
    fill_database()
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))

    def visit_when_ready():
        while not server.started:
            time.sleep(0.1)
        visit(server.servers[0].sockets[0].getsockname()[1])

    threading.Thread(target=visit_when_ready, daemon=True).start()
    server.run()


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python shop.py SERVER-ADDRESS")
    main()
