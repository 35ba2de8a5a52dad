#include "sherd/base/units.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sherd;

TEST_CASE("Plain and suffixed sizes are read as powers of 1024") {
  CHECK(parse_bytes("0") == 0u);
  CHECK(parse_bytes("4096") == 4096u);
  CHECK(parse_bytes("12B") == 12u);
  CHECK(parse_bytes("12 b") == 12u);
  CHECK(parse_bytes("1KiB") == kib);
  CHECK(parse_bytes("512MiB") == 512 * mib);
  CHECK(parse_bytes("2GiB") == 2 * gib);
  CHECK(parse_bytes("2 GiB") == 2 * gib);
  CHECK(parse_bytes("3TiB") == 3 * 1024 * gib);
  for (const char* one : {"1M", "1m", "1MB", "1mb", "1Mb", "1mib", "1MiB"})
    CHECK(parse_bytes(one) == mib);
  CHECK(parse_bytes("1.5GiB") == 3 * gib / 2);
  CHECK(parse_bytes("0.5k") == 512u);
}

TEST_CASE("Integers stay exact where doubles end") {
  CHECK(parse_bytes("9007199254740993") == 9007199254740993u);  // 2^53 + 1
  CHECK(parse_bytes("9007199254740993B") == 9007199254740993u);
  CHECK(parse_bytes("9223372036854774784") == 9223372036854774784u);  // the last double under 2^63
  CHECK(parse_bytes("9223372036854775808") == std::nullopt);
  CHECK(parse_bytes("18446744073709551615") == std::nullopt);
  CHECK(parse_bytes("8388608TiB") == std::nullopt);
  CHECK(parse_bytes("8388607TiB") == 8388607 * (1024 * gib));
}

TEST_CASE("Malformed, negative, fractional and hostile sizes are refused") {
  for (const char* bad :
       {"",       " ",     " 1",    "-1",     "-0",    "-1MiB",   "+1", "MiB",    "B",   "1X",
        "1KX",    "1KiBx", "1KiB ", "1BB",    "1Ki B", "0x10",    "1E", "inf",    "nan", "1e400",
        "1e-400", "1.5",   "0.1k",  "1,5GiB", "1..5K", "512MiB2", "١",  "1\xffiB"})
    CHECK_MESSAGE(parse_bytes(bad) == std::nullopt, bad);
  CHECK(parse_bytes(std::string_view("5\0", 2)) == std::nullopt);
  CHECK(parse_bytes(std::string(100'000, '9')) == std::nullopt);
  CHECK(parse_bytes(std::string(100'000, 'M')) == std::nullopt);
  CHECK(parse_bytes(std::string_view("4096").substr(0, 2)) == 40u);  // never reads past the end
}

TEST_CASE("Sizes print with two decimals in the largest unit that holds one") {
  CHECK(format_bytes(0) == "0 B");
  CHECK(format_bytes(12) == "12 B");
  CHECK(format_bytes(1023) == "1023 B");
  CHECK(format_bytes(kib) == "1.00 KiB");
  CHECK(format_bytes(mib - 1) == "1.00 MiB");
  CHECK(format_bytes(gib - 1) == "1.00 GiB");
  CHECK(format_bytes(1000 * kib) == "1000.00 KiB");
  CHECK(format_bytes(768898826) == "733.28 MiB");
  CHECK(format_bytes(~Bytes{0}) == "16777216.00 TiB");
}

TEST_CASE("A printed size reads back as itself when two decimals hold it") {
  for (Bytes unit : {Bytes{1}, kib, mib, gib, 1024 * gib}) {
    for (Bytes quarters = 4; quarters < 4096; quarters += 37) {
      const Bytes bytes = unit == 1 ? quarters / 4 : unit / 4 * quarters;
      CHECK(parse_bytes(format_bytes(bytes)) == bytes);
    }
  }
}

TEST_CASE("Rounding up meets its closed form") {
  for (std::uint64_t value = 0; value < 70; ++value) {
    for (std::uint64_t unit = 1; unit < 20; ++unit) {
      const std::uint64_t up = round_up(value, unit);
      CHECK(up % unit == 0);
      CHECK(up >= value);
      CHECK(up < value + unit);
      CHECK(ceil_div(value, unit) * unit == up);
    }
  }
}
