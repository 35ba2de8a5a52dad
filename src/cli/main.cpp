#include <CLI/CLI.hpp>
#include <array>

#include "cli/bench_memory.hpp"
#include "cli/checkpoint.hpp"
#include "cli/data_tokenize.hpp"
#include "cli/generate.hpp"
#include "cli/resolved.hpp"
#include "sherd/base/errors.hpp"
#include "sherd/base/suggest.hpp"
#include "sherd/bench/training.hpp"
#include "sherd/cli/commands.hpp"
#include "sherd/cli/event_log.hpp"
#include "sherd/cli/options.hpp"

namespace sherd::cli {
namespace {

const std::vector<std::string> bench_names = {"memory", "step", "comm", "optim", "io", "data"};

std::string bench_problem(const std::string& name) {
  if (std::find(bench_names.begin(), bench_names.end(), name) != bench_names.end()) return {};
  return "got '" + name + "', need one of memory, step, comm, optim, io, data" +
         did_you_mean(name, bench_names);
}

struct CommandLine {
  CLI::App app{"Trains networks whose state does not fit on one device.", "sherd"};
  launch::RunConfig train_config, plan_config, drawn_config;
  PlanOutput plan_output;
  BenchOutput bench_output;
  std::string bench_name;
  CLI::App* train = app.add_subcommand("train", "Train a network.");
  CLI::App* plan = app.add_subcommand("plan", "Say what a run needs, without running it.");
  CLI::App* bench = app.add_subcommand("bench", "Measure against the machine's own bounds.");
  Generate generate{app};
  CheckpointCommand checkpoint{app};
  CLI::App* data = app.add_subcommand("data", "Make data ready for training.");
  DataTokenize tokenize{*data};
  CLI::App* memory = nullptr;  // of bench: it takes the flags of a run too

  CommandLine() {
    app.set_version_flag("--version", "sherd " + std::string(version()));
    app.require_subcommand(0, 1);
    add_run_options(*train, train_config, {.zoo = true, .needs_data = true});
    train->footer("\nExample: sherd train --data corpus.txt --steps 200 --zero-stage 3 --ranks 2");
    add_run_options(*plan, plan_config, {.zoo = true, .purpose = launch::Purpose::plan});
    plan->add_flag("--json", plan_output.json, "machine-readable, on stdout");
    plan->add_flag("--print-program", plan_output.print_program, "list every step of the program");
    plan->add_option("--machine", plan_output.machine, "its rates and memory: cpu, h200 or a file")
        ->type_name("NAME|FILE");
    plan->add_flag("--search", plan_output.search,
                   "rank configurations, the fastest that fits first");
    plan->add_flag("--change-numerics", plan_output.change_numerics,
                   "with --search: other micro-batches too, which change the result's bits");
    bench->add_option("what", bench_name, "memory, step, comm, optim, io or data")
        ->required()
        ->check(CLI::Validator(bench_problem, ""));
    bench->add_flag("--quick", bench_output.quick, "seconds instead of minutes");
    bench->add_flag("--json", bench_output.json, "a JSON line a row, on stdout");
    bench->add_option("--plot", bench_output.plot, "draw the rows into this file")
        ->type_name("FILE.svg");
    bench->add_option("--device", bench_output.device, "what is measured; auto: a GPU if one works")
        ->type_name("auto|cpu|cuda[:INDEX]")
        ->capture_default_str();
    bench
        ->add_option("--part", bench_output.parts, "for step: some of it alone; as often as needed")
        ->check(CLI::IsMember(std::vector<std::string>(sherd::bench::step_parts.begin(),
                                                       sherd::bench::step_parts.end())))
        ->type_name("NAME");
    bench->add_option("--offload-dir", bench_output.offload_dir, "where io keeps its files")
        ->type_name("FOLDER");
    bench->add_flag("--offload-dir-any", bench_output.offload_dir_any,
                    "let it be memory or a network's file system");
    bench->add_option("--tokenizer", bench_output.tokenizer, "for data: a tokenizer.json")
        ->type_name("FILE");
    bench->add_option("--text", bench_output.text, "for data: the text to encode")
        ->type_name("FILE");
    bench->footer("\nExample: sherd bench step --device cuda --quick");
    memory = add_bench_memory(*bench, bench_output, drawn_config);
  }

  int dispatch() {
    if (train->parsed()) {
      const bool dry = train_config.output.dry_run;  // a plan alone has no need of an end
      return cli::train(
          resolved(train_config, dry ? launch::Purpose::plan : launch::Purpose::train));
    }
    if (plan->parsed()) return cli::plan(resolved(plan_config, launch::Purpose::plan), plan_output);
    if (generate.parsed()) return generate.run();
    if (checkpoint.parsed()) return checkpoint.run();
    if (memory->parsed()) return bench_memory(bench_output, drawn_config);
    if (bench->parsed()) {
      if (bench_name.empty()) throw ConfigError({"bench: " + bench_problem(bench_name)});
      const auto found = std::find(bench_names.begin(), bench_names.end(), bench_name);
      return cli::bench(static_cast<Bench>(found - bench_names.begin()), bench_output);
    }
    if (tokenize.parsed()) return tokenize.run();
    if (data->parsed()) throw ConfigError({"data: need a command: tokenize (sherd data --help)"});
    throw ConfigError(
        {"need a command: train, plan, generate, checkpoint, bench or data (sherd --help says "
         "more)"});
  }
};

}  // namespace
}  // namespace sherd::cli

int main(int argc, char** argv) {
  return sherd::cli::guarded([&] {
    sherd::cli::CommandLine line;
    return sherd::cli::run(line.app, argc, argv, [&] { return line.dispatch(); });
  });
}
