#include "sherd/bench/row.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

using namespace sherd;
using bench::Row;

namespace {

Row streaming() {
  return {.name = "adamw",
          .time = {.median = 0.5, .fastest = 0.4, .slowest = 0.6, .rounds = 9},
          .work = 28e9,
          .bound_name = "copy",
          .bound = 70e9,
          .wrong = 3,
          .extra = {{"where", std::string("device")}, {"n", std::int64_t{1000}}, {"ns", 0.25}}};
}

}  // namespace

TEST_CASE("a row of bytes becomes one JSON line with the documented keys") {
  const std::string text = bench::to_json(streaming());
  CHECK(text.find('\n') == std::string::npos);
  const auto line = nlohmann::json::parse(text);
  CHECK(line["name"] == "adamw");
  CHECK(line["seconds"] == 0.5);
  CHECK(line["gb_per_s"] == doctest::Approx(56));
  CHECK(line["bound_gb_per_s"] == doctest::Approx(70));
  CHECK(line["of_bound"] == doctest::Approx(0.8));
  CHECK(line["spread"] == doctest::Approx(0.4));
  CHECK(line["rounds"] == 9);
  CHECK(line["wrong"] == 3);
  CHECK(line["bound"] == "copy");
  CHECK(line["where"] == "device");
  CHECK(line["n"] == 1000);
  CHECK(line["ns"] == 0.25);
}

TEST_CASE("a row of arithmetic counts operations a second") {
  Row row = streaming();
  row.unit = bench::Work::flops;
  const auto line = nlohmann::json::parse(bench::to_json(row));
  CHECK(line["flop_per_s"] == doctest::Approx(56e9));
  CHECK(line["bound_flop_per_s"] == doctest::Approx(70e9));
  CHECK_FALSE(line.contains("gb_per_s"));
}

TEST_CASE("a row without a bound claims no part of one") {
  Row row = streaming();
  row.bound = 0;
  const auto line = nlohmann::json::parse(bench::to_json(row));
  CHECK_FALSE(line.contains("of_bound"));
  CHECK_FALSE(line.contains("bound_gb_per_s"));
  CHECK(line["gb_per_s"] == doctest::Approx(56));
}

TEST_CASE("a number that is not finite is null") {
  Row row = streaming();
  row.time.median = std::numeric_limits<double>::quiet_NaN();
  CHECK(nlohmann::json::parse(bench::to_json(row))["seconds"].is_null());
}

TEST_CASE("the table aligns its columns and names every row") {
  Row second = streaming();
  second.name = "a much longer name";
  second.bound = 0;
  const std::vector<Row> rows = {streaming(), second};
  const std::string text = bench::table(rows);
  CHECK(std::ranges::count(text, '\n') == 3);
  const std::size_t one = text.find("\nadamw"), two = text.find("\na much longer name");
  REQUIRE(one != std::string::npos);
  REQUIRE(two != std::string::npos);
  CHECK(text.find("500.000 ms", one) - one == text.find("500.000 ms", two) - two);
  CHECK(text.find("80%") != std::string::npos);
  CHECK(text.find("where=device n=1000 ns=0.25") != std::string::npos);
}
