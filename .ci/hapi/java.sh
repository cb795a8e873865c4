# Read by the other scripts: how Java starts here.
# C1 only and the serial collector: half the CPU and memory of Java's defaults in short lives.
java_flags=(-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xlog:disable -Xlog:all=off)
class_path='target/test-servers-1.jar:target/libraries/*'
