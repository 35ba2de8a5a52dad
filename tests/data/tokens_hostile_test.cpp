// Token files that are wrong, missing, damaged or changed under way.
#include <doctest/doctest.h>

#include "data/tokens_case.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/data/tokens.hpp"

namespace sherd::data {
namespace {

using test::bytes_of;
using test::contains;
using test::count_up;
using test::llmc;
using test::refusal;

TEST_CASE("Too little data says how much there is and how much is needed") {
  const test::TempFolder folder;
  const std::string path = folder.write("a.txt", "abc");
  CHECK(contains(refusal({path}, 3), "got 3 tokens in 1 file(s)"));
  CHECK(contains(refusal({path}, 3), "need at least 4"));
  CHECK(contains(refusal({folder.write("empty", "")}), "got 0 tokens"));
  std::filesystem::create_directory(folder.path() + "/void");
  CHECK(contains(refusal({folder.path() + "/void"}), "got 0 tokens in 0 file(s)"));
  CHECK(contains(refusal({}), "no path"));
  CHECK(open_tokens({path}, {2, 256})->samples() == 1);
}

TEST_CASE("Every path that cannot be read is listed") {
  const test::TempFolder folder;
  const std::string good = folder.write("a.txt", "abc");
  const std::string message =
      refusal({folder.path() + "/x", good, "/dev/null", folder.path() + "/y", ""});
  CHECK(contains(message, "4 path(s)"));
  CHECK(contains(message, "/x (No such file"));
  CHECK(contains(message, "/dev/null (neither"));
  CHECK(contains(message, "/y (No such file"));
  CHECK(contains(message, "empty name"));
}

TEST_CASE("Mixed kinds of files are refused with one of each") {
  const test::TempFolder folder;
  const std::string text = folder.write("a.txt", "abc");
  folder.write("b.bin", llmc(20240520, 1, 3, count_up<std::uint16_t>(3)));
  for (const auto& paths : {std::vector{folder.path()}, {text, folder.path() + "/b.bin"}}) {
    const std::string message = refusal(paths);
    CHECK(contains(message, "mixed kinds"));
    CHECK(contains(message, "a.txt' is text"));
    CHECK(contains(message, "b.bin' is llm.c"));
  }
}

TEST_CASE("A token outside the vocabulary names file and byte") {
  const test::TempFolder folder;
  const auto bad = [](const std::string& path, std::int64_t vocab) {
    const auto source = open_tokens({path}, {4, vocab});
    const std::string read =
        test::message_of<DataError>([&] { (void)test::read_sample(*source, 0); });
    CHECK(read == test::message_of<DataError>([&] { source->check_tokens(); }));
    return read;
  };
  const std::string text = bad(folder.write("t.txt", "\1\2\3\4\5"), 3);
  CHECK(contains(text, "t.txt: has 3, need less than the vocabulary size 3"));
  CHECK(contains(text, "at byte 2"));
  const std::vector<std::uint16_t> narrow{0, 1, 2, 3, 500};
  CHECK(contains(bad(folder.write("a.bin", llmc(20240520, 1, 5, narrow)), 500), "at byte 1032"));
  const std::vector<std::uint32_t> wide{0, 1, 4000000000u, 3, 4};
  CHECK(contains(bad(folder.write("b.bin", llmc(20240801, 7, 5, wide)), 500), "has 4000000000,"));
  const std::vector<std::int32_t> negative{0, 1, 2, -100, 4};
  const std::string array = folder.write("c.npy", test::npy_1d("<i4", 5, bytes_of(negative)));
  CHECK(contains(bad(array, 500), "has -100,"));
}

TEST_CASE("Headers of llm.c that lie are refused with the byte") {
  const test::TempFolder folder;
  const auto tokens = count_up<std::uint16_t>(5);
  const auto of = [&](std::int32_t magic, std::int32_t version, std::int32_t count) {
    return refusal({folder.write("a.bin", llmc(magic, version, count, tokens))});
  };
  CHECK(of(20240520, 1, 5).empty());
  CHECK(contains(of(20240521, 1, 5), "magic 20240521"));
  CHECK(contains(of(20240520, 2, 5), "version 2"));
  CHECK(contains(of(20240520, 1, 4), "promises 4 tokens"));
  CHECK(contains(of(20240520, 1, 6), "at byte 8"));
  CHECK(contains(of(20240520, 1, -5), "promises -5 tokens"));
  CHECK(contains(of(20240801, 7, 5), "4 bytes and holds 10"));
  CHECK(contains(of(20240520, 1, 2147483647), "promises 2147483647"));
  CHECK(contains(refusal({folder.write("a.bin", "text, not tokens")}), "too short"));
}

TEST_CASE("Arrays that are no streams of tokens are refused") {
  const test::TempFolder folder;
  const auto of = [&](const std::string& content) {
    return refusal({folder.write("a.npy", content)});
  };
  CHECK(contains(of(test::npy_1d("<f4", 5, std::string(20, 'x'))), "fractions"));
  CHECK(contains(
      of(test::npy("{'descr':'<u2','fortran_order':False,'shape':(2,5)}", std::string(20, 'x'))),
      "two dimensions"));
  CHECK(contains(of(test::npy_1d("|O", 5, std::string(40, 'x'))), "'|O'"));
  CHECK(contains(of("abc"), "too short"));
}

TEST_CASE("Labels that do not belong to their array are refused") {
  const test::TempFolder folder;
  const std::string array = test::npy_1d("<u2", 5, bytes_of(count_up<std::uint16_t>(5)));
  const std::string first = folder.write("x/a.npy", array);
  const auto labels = [&](const std::string& descr, std::size_t count, std::size_t width) {
    return folder.write("x/labels.npy",
                        test::npy_1d(descr, count, std::string(count * width, '\1')));
  };
  labels("<i4", 4, 4);
  CHECK(contains(refusal({first}), "has 4 labels, need 5"));
  labels("<u2", 5, 2);
  CHECK(contains(refusal({first}), "need int32"));
  labels("<i4", 5, 4);
  CHECK(contains(refusal({first, folder.write("x/b.npy", array)}), "beside two token arrays"));
  CHECK(contains(refusal({first, folder.write("y/b.npy", array)}), "beside some arrays only"));
  const auto source = open_tokens({first}, {2, 1000});  // its labels are 0x01010101
  const std::string message =
      test::message_of<DataError>([&] { (void)test::read_sample(*source, 0); });
  CHECK(contains(message, "labels.npy: has 16843009, need"));
  CHECK(contains(message, "-100"));
}

TEST_CASE("A file that changes during the run is reported") {
  const test::TempFolder folder;
  const std::string kept = folder.write("a.txt", std::string(100, 'x'));
  const auto source = open_tokens({kept}, {2, 256});
  std::filesystem::resize_file(kept, 50);
  CHECK_THROWS_AS((void)test::read_sample(*source, 40), DataError);

  std::vector<std::string> many;
  for (int i = 0; i < 70; ++i) many.push_back(folder.write('f' + std::to_string(i), "abc"));
  const auto reopened = open_tokens(many, {2, 256});
  folder.write("f69", "abcd");
  CHECK(contains(test::message_of<DataError>([&] { (void)test::read_sample(*reopened, 103); }),
                 "f69: changed"));
}

}  // namespace
}  // namespace sherd::data
